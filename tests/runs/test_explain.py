"""Explanations say what hiding a part does to the answer, and find signs that were planted in simulated ECGs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import anyjepa
from anyjepa import plot
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.labels import LabelTable
from anyjepa.errors import InputError
from anyjepa.runs import explain, parts
from anyjepa.runs.applying import ApplyOptions
from anyjepa.runs.classifier import compute_predictions
from anyjepa.runs.explain import Explanation, picture_paths
from anyjepa.runs.predict import ExplainOptions, predict_files
from anyjepa.runs.predictions import Predictions

PAGE = Path(__file__).parents[2] / "docs" / "explanations.md"
SIMULATED = SimulatorConfig(patients=44, fs=100, duration_s=6)


@pytest.fixture(scope="module")
def records():
    return simulate(SIMULATED)


@pytest.fixture(scope="module")
def kept(tiny_run: Path, records, tmp_path_factory) -> Path:
    """A classifier of two classes that are not exclusive, with windows of 4 s."""
    folder = tmp_path_factory.mktemp("explained") / "linear"
    split = tuple(("test", "validation", "train", "train")[i % 4] for i in range(len(records)))
    values = np.array([[i // 4 % 2, i % 3 == 0] for i in range(len(records))])
    ids = tuple(r.id for r in records)
    labels = LabelTable(ids, ("AF", "third"), values, tuple(r.group for r in records), False, split)
    settings = {"bootstrap": 0, "min_count": 0, "windows": {"length": 400}}
    anyjepa.evaluate(tiny_run, labels=labels, settings=settings, name="explained", save_classifier=folder)
    return folder


def test_an_effect_is_the_difference_of_two_predictions(kept, records):
    model = anyjepa.load(kept)
    (found,) = model.explain(records[3].signal, fs=100, tokens=10)  # parts of 1 s
    assert len(found.grid) == 6 + 12 * 6 + 12
    table = found.table("AF")
    assert list(table) == ["id", "class", "lead", "start_s", "end_s", "log_odds", "probability"]
    row = table[(table["lead"] == "V3") & (table["start_s"] == 2) & (table["end_s"] == 3)].iloc[0]
    hidden = found.record.copy()
    hidden[LEADS.index("V3"), 200:300] = np.median(hidden[LEADS.index("V3")])
    volts = model.preprocessing.restore(np.stack([found.record, hidden]), "")
    whole, without = model.predict_classes(volts, fs=100).probabilities[:, 0].astype(float)
    assert row["probability"] == pytest.approx(whole - without, abs=1e-5)
    logit = np.log(whole / (1 - whole)) - np.log(without / (1 - without))
    assert row["log_odds"] == pytest.approx(logit, abs=1e-4)
    best = table[table["lead"] == "all"].sort_values("log_odds").iloc[-1]
    assert found.strongest_s[0] == best["start_s"]


def test_the_command_writes_tables_and_pictures(cli, kept, records, tmp_path):
    for number in range(2):
        arrays = {"fs": 100, "leads": np.array(LEADS), "unit": "mV", "ids": np.array([f"../r{number}"])}
        (tmp_path / f"in{number}").mkdir()
        np.savez(tmp_path / f"in{number}" / "a.npz", signals=records[number].signal[None], **arrays)
    inputs = [tmp_path / "in0", tmp_path / "in1"]
    asked = ("--explain", tmp_path / "e.csv", "--explain-class", "AF", "--explain-tokens", "10")
    done = cli("predict", kept, *inputs, "-o", tmp_path / "p.csv", *asked, "--draw", tmp_path / "pictures")
    assert done.code == 0, done.err
    assert f"effects: {tmp_path / 'e.csv'}\npictures: {tmp_path / 'pictures'}\n" in done.out
    table, effects = pd.read_csv(tmp_path / "p.csv"), pd.read_csv(tmp_path / "e.csv")
    assert len(effects) == 2 * 90
    assert set(effects["class"]) == {"AF"}
    places = effects[(effects["lead"] == "all") & (effects["id"] == "../r1")]
    assert table["AF.evidence_s"][1] == places.loc[places["log_odds"].idxmax(), "start_s"]
    assert "third.evidence_s" not in table
    assert "AF.window_s" in table
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [picture.name for picture in pictures] == ["r0.png", "r1.png"]
    with Image.open(pictures[0]) as picture:
        assert picture.width > 1000
    done = cli("predict", kept, inputs[0], "-o", tmp_path / "p.csv", *asked, "--draw", tmp_path / "one.svg")
    assert done.code == 0, done.err
    assert "<svg" in (tmp_path / "one.svg").read_text()
    explained = anyjepa.load(kept).explain(records[0].signal, fs=100, tokens=10)[0]
    texts = [text.get_text() for text in plot.explanation(explained).axes[0].texts]
    assert any("blue is evidence for it, orange against it; full colour: log-odds ±" in text for text in texts)


def test_a_resumed_command_draws_every_picture_with_the_requested_batch(kept, records, tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", signals=np.stack([r.signal for r in records[:2]]), fs=100, leads=LEADS, unit="mV")
    monkeypatch.setattr(parts, "SIZE", 1)
    batches = []

    def counted(*args: Any) -> Predictions:
        batches.append(args[3:])
        return compute_predictions(*args)

    monkeypatch.setattr(explain, "compute_predictions", counted)
    files = (kept, [tmp_path / "a.npz"], tmp_path / "p.csv")

    def stop(done: int, count: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    explaining = ExplainOptions(tmp_path / "e.csv", "AF", 10)
    with pytest.raises(KeyboardInterrupt):
        predict_files(*files, ApplyOptions(batch=8, progress=stop), explaining=explaining)
    explaining = replace(explaining, pictures=tmp_path / "pictures", draw=plot.explanation)
    predict_files(*files, ApplyOptions(batch=8), explaining=explaining)
    assert len(list((tmp_path / "pictures").iterdir())) == 2
    assert set(batches) == {(8,)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--explain", "e.npz"], "e.npz: predictions are written as .parquet, .arrow, .csv"),
        (["--explain", "p.csv"], "p.csv: is named for two tables"),
        (["--explain", "e.csv", "--explain-class", "aF"], "there is no class 'aF'; did you mean 'AF'?"),
        (["--explain", "e.csv", "--draw", "one.png"], "one.png: is one picture, but there are 2 records"),
        (["--draw", "one.png"], "--draw needs --horizon or --explain"),
        (["--explain-tokens", "2"], "--explain-tokens needs --explain"),
        (["--explain", "e.csv", "--horizon", "1"], "--explain is for classifiers and --horizon for NEPA models"),
    ],
)
def test_what_cannot_be_explained_is_one_line(cli, kept, records, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", signals=np.stack([r.signal for r in records[:2]]), fs=100, leads=np.array(LEADS), unit="mV")
    done = cli("predict", kept, "a.npz", "-o", "p.csv", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not Path("p.csv").exists()


def test_what_would_take_hours_is_refused_before_it_starts(kept, records, monkeypatch):
    model = anyjepa.load(kept)
    monkeypatch.setenv("ANYJEPA_LIMIT_PASSES", "2k")
    long = np.concatenate([r.signal for r in records[:3]], 1)  # 18 s: 8 windows, 180 places of 0.1 s, 12 leads
    with pytest.raises(InputError, match=r"hiding each part of 1 record needs 18,824 passes, more than the limit"):
        model.explain(long, fs=100)


def test_a_record_with_one_window_has_no_column_for_it(tiny_run, records, tmp_path):
    settings = {"bootstrap": 0, "min_count": 0, "windows": {"length": 400}}
    anyjepa.evaluate(tiny_run, settings=settings, name="explained", save_classifier=tmp_path / "kept")
    model = anyjepa.load(tmp_path / "kept")
    one = model.predict_classes([r.signal[:, :400] for r in records[:2]], fs=100)
    assert not [name for name in one.table() if name.endswith("window_s")]
    assert [name for name in one.table(several=True) if name.endswith("window_s")]
    assert [name for name in model.predict_classes(records[0].signal, fs=100).table() if name.endswith("window_s")]


def test_the_example_of_the_page_runs(kept, records, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/af").symlink_to(kept)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    found = {"anyjepa": anyjepa, "signals": [records[0].signal], "leads": LEADS}
    exec(compile(code.replace("fs=500", "fs=100"), "explanations.md", "exec"), found)
    assert len(found["explanations"]) == 1


def test_ids_become_names_of_files_that_differ():
    assert picture_paths(Path("x.svg"), ["a"]) == [Path("x.svg")]
    assert picture_paths(Path("x"), ["a/b", "c"]) == [Path("x/a-b.png"), Path("x/c.png")]
    assert picture_paths(Path("x"), ["a/b", "a:b", "/"]) == [
        Path("x/00001-a-b.png"), Path("x/00002-a-b.png"), Path("x/00003-record.png"),
    ]  # fmt: skip


def test_a_long_record_is_drawn_around_its_strongest_place(kept, records):
    signal = np.concatenate([r.signal for r in records[:5]], 1)  # 30 s
    (found,) = anyjepa.load(kept).explain(signal, fs=100, tokens=50)
    figure = plot.explanation(found, "AF")
    drawn = max(figure.axes[0].lines, key=lambda line: len(np.asarray(line.get_xdata())))
    start = np.clip(found.strongest_s[0] - 5, 0, 20)
    volts = model_volts(found)[LEADS.index("II"), round(100 * start) :][:1000]
    shown = np.asarray(drawn.get_ydata(), float)
    np.testing.assert_allclose(shown - shown.mean(), 10 * (volts - volts.mean())[: len(shown)], atol=0.05)


def test_a_page_that_is_not_in_mv_says_so(kept, records):
    model = anyjepa.load(kept)
    (found,) = model.explain(records[0].signal, fs=100, tokens=50)
    in_mv = plot.explanation(found), plot.tokens(model, records[0].signal, fs=100)
    model.preprocessing = model.preprocessing.model_copy(update={"by_record": True})
    (found,) = model.explain(records[0].signal, fs=100, tokens=50)
    standardised = plot.explanation(found), plot.tokens(model, records[0].signal, fs=100)
    for pages, scale in ((in_mv, "10 mm/mV"), (standardised, "10 mm/SD")):
        for page in pages:
            texts = [text.get_text() for text in page.axes[0].texts]
            assert [text for text in texts if "mm/s" in text] == [f"25 mm/s   {scale}   100 Hz"]


def model_volts(found: Explanation) -> np.ndarray:
    return found.preprocessing.restore(found.record, found.source)


@pytest.mark.long
def test_the_effect_is_largest_where_st_elevation_was_planted(tmp_path):
    """A probe on the encoder of the package looks at ST and T in V1 to V4; one with shuffled labels does not."""
    config = {"classes": ("NORM", "STE_ANT", "STE_INF", "LBBB"), "fs": 100}
    train = simulate(SimulatorConfig(patients=200, seed=1, **config))
    names = [next(iter(record.statements)) for record in train]
    marked = simulate(SimulatorConfig(patients=16, seed=2, severity=(0.5, 1), **config))
    new = [record for record in marked if "STE_ANT" in record.statements]
    effects = {}
    for name, labels in (("true", names), ("shuffled", np.random.default_rng(0).permutation(names).tolist())):
        asked = {"labels": labels, "fs": 100, "seeds": 1, "settings": {"bootstrap": 0, "min_count": 0}}
        anyjepa.evaluate("ecg-sim-xs", np.stack([r.signal for r in train]), **asked, save_classifier=tmp_path / name)
        found = anyjepa.load(tmp_path / name).explain([record.signal for record in new], fs=100, tokens=3)
        effects[name] = np.array([contrast(one, record) for one, record in zip(found, new, strict=True)])
    planted, elsewhere = effects["true"].T
    assert (planted > 2 * np.abs(elsewhere)).all()
    assert planted.min() > np.abs(effects["shuffled"][:, 0]).max()


def contrast(found: Explanation, record) -> tuple[float, float]:
    """Mean effects on STE_ANT in V1 to V4 from the end of QRS to the end of T, and everywhere else."""
    names, _, ends, _ = record.waves()
    middles = (found.grid.edges[0][:-1] + found.grid.edges[0][1:]) / 200
    at = {kind: np.array([n == kind for n in names]) for kind in ("QRS", "T")}
    spans = [(end, min(ends[at["T"]][ends[at["T"]] > end], default=end)) for end in ends[at["QRS"]]]
    times = np.array([any(a <= t < b for a, b in spans) for t in middles])
    there = np.isin(LEADS, ["V1", "V2", "V3", "V4"])[:, None] & times
    effects = found.grid.by_channel(found.of("STE_ANT"))
    return float(effects[there].mean()), float(effects[~there].mean())


def test_parts_are_at_least_one_token_wide(kept, records):
    for tokens in (0, -1, 1.5):
        with pytest.raises(InputError, match=f"tokens are {tokens}; they must be a whole number of at least 1"):
            anyjepa.load(kept).explain(records[0].signal, fs=100, tokens=tokens)
