"""The example page runs an exported model in a real browser as anyjepa does, and nothing leaves the machine."""

from __future__ import annotations

import functools
import json
import shutil
import threading
import time
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from chromium import chromium
from PIL import Image

import anyjepa
from anyjepa.data.ecg.reading import iterate
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.labels import LabelTable
from anyjepa.evaluation.nearest import nearest
from anyjepa.runs.classifier import classifier_of
from anyjepa.runs.export import export

EXAMPLE = Path(__file__).parents[1] / "examples/browser"
RUNTIME = EXAMPLE / "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"
SHOWN = """({
    error: document.querySelector('#error').textContent,
    status: document.querySelector('#status').textContent,
    hidden: document.querySelector('#result').hidden,
    part: document.querySelector('#part').hidden ? '' : document.querySelector('#part output').textContent,
    embedding: document.querySelector('#embedding').textContent.split(' ').map(Number),
    probabilities: [...document.querySelectorAll('td.bar div')].map(bar => Number(bar.dataset.value)),
    tables: [...document.querySelectorAll('table')].map(one =>
        [...one.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent))),
    text: document.querySelector('#tables').textContent,
})"""


LAST_PART = """{
    const slider = document.querySelector('#part input');
    slider.value = slider.max;
    slider.dispatchEvent(new Event('input'));
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site():
    """The folder of the example, served as its page says."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(EXAMPLE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(site, tmp_path_factory):
    if shutil.which("chromium") is None or not RUNTIME.exists():
        pytest.skip("chromium or onnxruntime-web is not installed; run make setup")
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        tab.own = site
        yield tab


@pytest.fixture
def tab(browser, site):
    """The page as it opens. At the end, nothing was wrong, and no request went elsewhere."""
    browser.open(site)
    yield browser
    assert browser.problems == []


def shown(tab, model: Path, *record: Path, neighbours: Path | None = None) -> dict[str, Any]:
    """What the page shows for these files."""
    tab.choose("#model", model)
    tab.choose("#record", *record)
    if neighbours:
        tab.choose("#neighbours", neighbours)
    return settled(tab)


def settled(tab) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while tab.evaluate("document.querySelector('main').ariaBusy === 'true'"):
        assert time.monotonic() < deadline, "the page has not finished"
        time.sleep(0.02)
    return tab.evaluate(SHOWN)


def close(ours: Any, theirs: Any) -> bool:
    return bool(np.abs(np.asarray(ours, float) - np.asarray(theirs, float)).max() < 1e-4)


def of_table(path: Path, prefix: str = "z") -> np.ndarray:
    """The vectors (N, D) in a table of `anyjepa embed`."""
    return pd.read_csv(path).filter(regex=rf"^{prefix}\d+$").to_numpy()


@pytest.fixture(scope="module")
def ecg_model(tiny_run, tmp_path_factory) -> Path:
    """An encoder of 4 s, for ECGs of 500 Hz."""
    return export(tiny_run, tmp_path_factory.mktemp("ecg") / "encoder.onnx", fs=500)


@pytest.fixture(scope="module")
def table() -> Any:
    """4 s of a simulated ECG, 500 Hz, in uV, with names of leads in other spellings."""
    (record,) = simulate(SimulatorConfig(patients=1, fs=500, duration_s=5))
    columns = {f"ECG_{lead.upper()}": 1000 * row for lead, row in zip(record.leads, record.signal, strict=True)}
    return pd.DataFrame(columns).assign(unit="uV", time_s=np.arange(2500) / 500)[:2000]


def test_a_csv_file_gives_the_embedding_of_embed_and_its_neighbours(cli, tiny_run, tab, ecg_model, table, tmp_path):
    records = simulate(SimulatorConfig(patients=12, fs=500, duration_s=5, seed=5))
    signals, ids = np.stack([record.signal for record in records]), [f"record, {n}" for n in range(len(records))]
    np.savez(tmp_path / "others.npz", signals=signals, fs=500, leads=records[0].leads, unit="mV", ids=ids)
    table.to_csv(tmp_path / "own.csv", index=False)
    done = cli("embed", tiny_run, tmp_path / "own.csv", tmp_path / "others.npz", "-o", tmp_path / "neighbours.csv")
    assert done.code == 0, done.err
    page = shown(tab, ecg_model, tmp_path / "own.csv", neighbours=tmp_path / "neighbours.csv")
    vectors = of_table(tmp_path / "neighbours.csv")
    assert close(page["embedding"], vectors[0])
    (order,), (cosine,) = nearest(vectors, np.array([0]), np.arange(len(vectors)), 4)
    assert [row[0] for row in page["tables"][0]] == ["own", *[ids[place - 1] for place in order]]
    assert [float(row[-1]) for row in page["tables"][0]] == pytest.approx([1, *cosine], abs=6e-4)
    assert "ECGs of 0.2 to 4 s at 500 Hz with the leads I, II, III" in page["status"]
    assert not page["probabilities"]


def test_a_model_of_8_bits_gives_what_onnxruntime_gives(tiny_run, tab, table, tmp_path):
    model = export(tiny_run, tmp_path / "int8.onnx", fs=500, int8=True)
    table.to_csv(tmp_path / "own.csv", index=False)
    session = onnxruntime.InferenceSession(model)
    leads = json.loads(session.get_modelmeta().custom_metadata_map["anyjepa"])["leads"]
    signal = np.stack([table[f"ECG_{lead.upper()}"] / 1000 for lead in leads]).astype(np.float32)
    expected: Any = session.run(["embedding"], {"input": signal[None]})[0]
    embedding = shown(tab, model, tmp_path / "own.csv")["embedding"]
    assert close(embedding, expected[0])
    assert not close(embedding, anyjepa.load(tiny_run).embed(signal, fs=500)[0])  # not the weights of float32


def test_invalid_samples_are_reported_where_they_are(tab, ecg_model, table, tmp_path):
    gap = pd.concat([table, table]).drop(columns="time_s").assign(fs=500)
    gap.iloc[10, 6] = np.nan
    gap.to_csv(tmp_path / "gap.csv", index=False)
    page = shown(tab, ecg_model, tmp_path / "gap.csv")
    assert page["text"] == "Lead V1 has invalid samples in this part, which the model cannot read."
    assert (page["hidden"], page["part"]) == (False, "0 to 4 of 8 s")
    tab.evaluate(LAST_PART)
    page = settled(tab)
    assert (page["text"], page["part"]) == ("", "4 to 8 of 8 s")
    assert np.isfinite(page["embedding"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["ECG_V1", "ECG_V3"]), "lead V1, V3 is missing; the record has I, II, III, aVR, "),
        (lambda t: t.assign(time_s=t["time_s"] * 2), "has 250 Hz, but the model reads 500 Hz; export it with --fs 250"),
        (lambda t: t[:50], "is 0.1 s long, but the model needs 0.2 s"),
        (lambda t: t.drop(columns="time_s"), "has no rate; add a column 'fs' (Hz) or 'time_s' (s)"),
        (lambda t: t.drop(columns="unit"), "has no unit; add a column 'unit', such as mV"),
        (lambda t: t.assign(unit="mmHg"), "the unit must be mV, uV, nV or V"),
        (lambda t: t.assign(unit=["mV", *["uV"] * 1999]), "column 'unit' must have a single value"),
        (
            lambda t: t.astype(object).replace({"ECG_I": t.iloc[3, 0]}, "high"),
            "row 5: 'high' in 'ECG_I' is not a number",
        ),
        (lambda t: t[["unit", "time_s"]], "no column is a lead such as II or V1"),
        (lambda t: t[:0], "has no rows"),
        (lambda t: t.drop(index=1000), "column 'time_s' is not evenly spaced; resample it first"),
        (lambda t: t.assign(V6=1), "lead V6 occurs twice"),
    ],
)
def test_a_wrong_table_is_one_clear_line(tab, ecg_model, table, change, message, tmp_path):
    change(table).to_csv(tmp_path / "own.csv", index=False)
    page = shown(tab, ecg_model, tmp_path / "own.csv")
    assert page["error"].startswith(f"own.csv: {message}")
    assert page["hidden"]


HEADER = "r 2 500 3\nr.dat 16 200 16 0 1 9 0 I\nr.dat 16 200 16 0 2 12 0 II\n"


@pytest.mark.parametrize(
    ("header", "samples", "message"),
    [
        (HEADER, None, "r.hea: choose it together with its signal file r.dat, both at once"),
        (HEADER, [1, 2, 3], "r.dat: is shorter than r.hea says"),
        (HEADER, [1, 2, 3, 4, 6, 6], "r.dat: is damaged or not that of r.hea; the checksum of 'I' is wrong"),
        (HEADER.replace(" 16 200", " 24 200"), [1], "r.hea: this page reads one signal file in format 16 or 212"),
        (HEADER.replace("r 2", "r/3 2"), [1], "r.hea: has several segments; choose one of them"),
        ("x,y\n1,2\n", [1], "r.hea: is not a WFDB header with a rate and a line for each signal"),
        (HEADER, [1, 2, 3, 4, 5, 6], "r.hea: lead III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6 is missing; the record"),
    ],
)
def test_a_wrong_wfdb_record_is_one_clear_line(tab, ecg_model, header, samples, message, tmp_path):
    (tmp_path / "r.hea").write_text(header)
    files = [tmp_path / "r.hea"]
    if samples is not None:
        np.array(samples, "<i2").tofile(tmp_path / "r.dat")
        files.append(tmp_path / "r.dat")
    assert shown(tab, ecg_model, *files)["error"].startswith(message)


def test_wrong_files_are_named(tab, ecg_model, table, tmp_path):
    for name in ("notes.txt", "photo.png", "r.dat", "model.onnx"):
        (tmp_path / name).write_text("hello")
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    table.to_csv(tmp_path / "own.csv", index=False)
    pd.DataFrame({"id": ["a", "b"], "z0": [0.5, 1], "z1": [1, 2]}).to_csv(tmp_path / "narrow.csv", index=False)
    for record, message in (
        ("notes.txt", "notes.txt: is not an image; choose a PNG, JPEG or WebP image, or an ECG"),
        ("photo.png", "photo.png: is not an image"),
        ("r.dat", "r.dat: choose it together with its .hea file"),
        ("black.png", "black.png: is an image, but the model needs an ECG"),
    ):
        page = shown(tab, ecg_model, tmp_path / record)
        assert (page["error"].startswith(message), page["hidden"]) == (True, True), page
    assert not shown(tab, ecg_model, tmp_path / "own.csv")["error"]
    wide = shown(tab, ecg_model, tmp_path / "own.csv", neighbours=tmp_path / "narrow.csv")
    assert wide["error"] == "narrow.csv: has 2 values per record, but the model 16; use one model"
    other = shown(tab, ecg_model, tmp_path / "own.csv", neighbours=tmp_path / "own.csv")
    assert other["error"] == "own.csv: has no columns z0, z1, ...; choose a table from anyjepa embed"
    tab.resize(700, 900)
    time.sleep(0.2)
    assert settled(tab)["error"] == other["error"]
    model = shown(tab, tmp_path / "model.onnx", tmp_path / "own.csv")
    assert model["error"] == "model.onnx: is not a model; choose an .onnx file that anyjepa export wrote"


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_the_page_fits_a_desk_and_a_phone(tab, site, ecg_model, table, tmp_path, width, dark):
    tab.open(site, width, dark=dark)
    table.to_csv(tmp_path / f"{'a long name ' * 9}.csv", index=False)
    shown(tab, ecg_model, tmp_path / f"{'a long name ' * 9}.csv")
    measured = tab.evaluate("""(() => {
        const canvas = document.querySelector('canvas'), pixels = canvas.getContext('2d');
        const last = pixels.getImageData(canvas.width - 40, 0, 40, canvas.height).data;
        return {
            page: document.documentElement.scrollWidth,
            ink: last.some((_, n) => n % 4 === 0 && last[n + 3] && (last[n] > 200) === (last[n + 2] > 200)),
            colour: getComputedStyle(document.body).color,
            name: canvas.ariaLabel,
        };
    })()""")
    assert measured["page"] == width
    assert measured["ink"]
    assert measured["colour"] == ("rgb(230, 233, 235)" if dark else "rgb(27, 33, 38)")
    assert measured["name"].startswith("ECG of 4.0 s with I, II, III")


def test_every_control_is_reached_with_the_keyboard(tab, ecg_model, table, tmp_path):
    table.to_csv(tmp_path / "own.csv", index=False)
    shown(tab, ecg_model, tmp_path / "own.csv")
    reached = []
    for _ in range(5):
        tab.key("Tab")
        reached.append(tab.evaluate("document.activeElement.id || document.activeElement.className || "
                                    "document.activeElement.localName"))  # fmt: skip
    assert reached == ["model", "record", "neighbours", "scroll", "summary"]
    tab.key("Enter")
    assert tab.evaluate("document.querySelector('details').open")


def test_the_page_cannot_connect_to_another_server(browser, site):
    asked = []

    class Other(Quiet):
        def do_GET(self) -> None:
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.open(site)
    address = f"http://127.0.0.1:{server.server_port}/"
    refused = browser.evaluate(f"fetch('{address}', {{mode: 'no-cors'}}).then(() => 'sent', () => 'refused')")
    server.shutdown()
    server.server_close()
    assert (refused, asked) == ("refused", [])
    assert any("Content Security Policy" in problem for problem in browser.problems)
    browser.problems.clear()


def test_the_lock_file_names_no_registry():
    text = (EXAMPLE / "package-lock.json").read_text()
    assert "http" not in text
    locked = json.loads(text)["packages"]["node_modules/onnxruntime-web"]
    assert locked["version"] == json.loads((EXAMPLE / "package.json").read_text())["dependencies"]["onnxruntime-web"]


@pytest.mark.realdata
@pytest.mark.long
@pytest.mark.parametrize("exclusive", [True, False])
def test_real_ecgs_get_the_probabilities_of_predict(cli, tab, test_data, tmp_path, exclusive):
    """Format 16, with a header of 24 bytes (Chapman) and without one (LUDB)."""
    records = simulate(SimulatorConfig(patients=40, fs=250, duration_s=10))
    ids = [record.id for record in records]
    labels = LabelTable.of_names(ids, ["even", "odd"] * 20, ids, ["train", "train", "validation", "test"] * 10)
    if not exclusive:
        values = np.stack([labels.values[:, 0], np.arange(40) % 3 == 0], 1)
        labels = replace(labels, classes=("even", "third"), values=values, exclusive=False)
    folder, signals = tmp_path / "classifier", np.stack([record.signal for record in records])
    data = {"signals": signals, "fs": 250, "leads": records[0].leads, "unit": "mV", "ids": ids}
    np.savez(tmp_path / "data.npz", **data)
    anyjepa.evaluate("ecg-sim-xs", tmp_path / "data.npz", labels=labels, bootstrap=0, save_classifier=folder)
    model, classifier = export(folder, tmp_path / "model.onnx", fs=500), classifier_of(anyjepa.load(folder).loaded)
    for name, signal in (("chapman/JS00002", ".mat"), ("ludb/data/8", ".dat")):
        header = test_data / f"{name}.hea"
        assert cli("predict", folder, header, "-o", tmp_path / "predicted.csv").code == 0
        assert cli("embed", folder, header, "-o", tmp_path / "vector.csv").code == 0
        page = shown(tab, model, header, header.with_suffix(signal))
        row = pd.read_csv(tmp_path / "predicted.csv").iloc[0]
        assert close(page["probabilities"], [row[f"{name}.probability"] for name in classifier.classes])
        assert close(page["embedding"], of_table(tmp_path / "vector.csv")[0])
        assert ("span the same range" in page["status"]) == name.startswith("ludb")  # its headers are wrong
        if not exclusive:
            thresholds = pd.Series(classifier.thresholds, classifier.classes)
            above = [row[f"{name}.decision"] for name in classifier.classes]
            assert [cells[3] for cells in page["tables"][0]] == [f"{limit:.3f}" for limit in thresholds]
            assert [cells[4] for cells in page["tables"][0]] == ["yes" if one else "no" for one in above]


@pytest.mark.realdata
@pytest.mark.long
def test_a_long_record_is_read_in_parts(cli, tab, tiny_recipe, test_data, tmp_path):
    """Format 212, two leads, 30 min (MIT-BIH)."""
    run, header = tmp_path / "run", test_data / "mitdb/100.hea"
    done = cli("pretrain", tiny_recipe, "-o", run, "--set", "data.leads=[V5,II]", "--set", "training.steps=2")
    assert done.code == 0, done.err
    (record,), encoder = iterate(header), anyjepa.load(run)
    shown(tab, export(run, tmp_path / "model.onnx", fs=360), header, header.with_suffix(".dat"))
    tab.evaluate("document.querySelector('#part input').focus()")
    for start, end in ((0, 4), (2, 6), (4, 8), (1801.56, 1805.56)):
        if start == 1801.56:
            tab.evaluate(LAST_PART)
        elif start:
            tab.key("ArrowRight")
        page = settled(tab)
        assert page["part"] == f"{start} to {end} of 1805.56 s"
        first = min(360 * round(start), record.signal.shape[1] - 4 * 360)
        part = record.signal[:, first : first + 4 * 360]
        assert close(page["embedding"], encoder.embed(part, fs=360, leads=record.leads)[0])


@pytest.mark.realdata
@pytest.mark.long
def test_real_images_get_the_probabilities_of_predict(cli, tab, test_data, tmp_path):
    small = {"training.steps": 2, "data.simulator.train": 200, "data.simulator.test": 100}
    run = anyjepa.pretrain("ijepa-demo", output=tmp_path / "run", edits=small)
    folder = tmp_path / "classifier"
    anyjepa.evaluate(run, seeds=1, bootstrap=0, save_classifier=folder)
    model = export(folder, tmp_path / "model.onnx")
    with np.load(test_data / "cifar10/cifar10_lossless_subset.npz") as cifar:
        picture = Image.fromarray(cifar["x_test"][0])
    clear = Image.new("RGBA", (70, 50), (10, 200, 30, 0))
    clear.paste(picture, (19, 9))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "picture.png")
    clear.save(tmp_path / "clear.png")
    picture.resize((96, 64)).save(tmp_path / "turned.jpg", exif=turned, quality=95)
    classes = list(classifier_of(anyjepa.load(folder).loaded).classes)
    for name in ("picture.png", "clear.png", "turned.jpg"):
        assert cli("predict", folder, tmp_path / name, "-o", tmp_path / "predicted.csv").code == 0
        page = shown(tab, model, tmp_path / name)
        row = pd.read_csv(tmp_path / "predicted.csv").iloc[0]
        assert close(page["probabilities"], [row[f"{one}.probability"] for one in classes]), name
