"""The Python API: load, embed, encode, fit, the scikit-learn transformer, and what an evaluation says about leakage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.ecg.source import whole_records
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.labels import LabelTable
from anyjepa.data.video.preprocessing import VideoPreprocessing
from anyjepa.errors import DataWarning, InputError
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.export import export
from anyjepa.weights.folder import Provenance, save_pretrained


@pytest.fixture(scope="module")
def model(tiny_run: Path) -> anyjepa.Model:
    return anyjepa.load(tiny_run)


@pytest.fixture(scope="module")
def signals() -> np.ndarray:
    """(6, 12, 600): six simulated ECGs of 6 s at 100 Hz, mV."""
    records = simulate(SimulatorConfig(patients=6, fs=100, duration_s=6, seed=7))
    return np.stack([r.signal for r in records])


def test_import_is_light_and_public_names_exist():
    code = "import sys, anyjepa; print({'torch', 'lightning', 'sklearn', 'pandas'} & set(sys.modules)); "
    code += "from anyjepa import *; print(Model, DataWarning, dir(anyjepa))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("set()\n<class 'anyjepa.runs.model.Model'>"), done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = anyjepa.lode


# --- load


@pytest.mark.parametrize("name", ["ecg-sim-xs", "vicreg-resnet10-cifar10"])
def test_loading_a_model_does_not_import_the_compiler(name: str):
    code = f"import sys, anyjepa; anyjepa.load('{name}'); print({{'torch._dynamo', 'lightning'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "set()\n", done.stderr


def test_load_takes_a_run_and_its_model_folder(model, tiny_run, signals):
    same = anyjepa.load(str(tiny_run / "model"))
    assert np.array_equal(same.embed(signals, fs=100), model.embed(signals, fs=100))
    assert model.dim == 16


def test_load_gives_the_teacher_unless_told_otherwise(model, tiny_run, signals):
    student = anyjepa.load(tiny_run, weights="student")
    assert (model.loaded.weights, student.loaded.weights) == ("teacher", "student")
    assert not np.array_equal(student.embed(signals, fs=100), model.embed(signals, fs=100))


def test_a_loaded_model_keeps_its_weights(model, signals, tmp_path):
    """Other weights must be loaded, so they are refused before anything is read or computed."""
    said = "^weights: the model was loaded with its teacher weights; pass weights='student' to load$"
    for use in (anyjepa.evaluate, anyjepa.diagnose, anyjepa.embed, partial(export, output=tmp_path / "model.onnx")):
        with pytest.raises(InputError, match=said):
            use(model, weights="student", **({} if isinstance(use, partial) else {"data": signals}))
    assert np.array_equal(anyjepa.embed(model, signals, weights="teacher", fs=100), model.embed(signals, fs=100))


def test_load_refuses_what_is_no_model(tmp_path):
    with pytest.raises(InputError, match="there is no such run or model"):
        anyjepa.load(tmp_path / "none")


# --- embed


def test_one_record_a_batch_and_a_list_agree(model, signals):
    batch = model.embed(signals, fs=100)
    assert (batch.shape, batch.dtype) == ((6, 16), np.float32)
    assert np.array_equal(batch, model.embed(signals, fs=100))
    np.testing.assert_allclose(model.embed(signals[0], fs=100), batch[:1], atol=1e-5)
    np.testing.assert_allclose(model.embed(list(signals), fs=100), batch, atol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "shape"), [("ijepa-demo", (28, 36)), ("vjepa-demo", (16, 28, 36))], ids=["images", "video"]
)
def test_grey_records_and_batches_of_them_are_told_apart(recipe, shape, tmp_path):
    config = load_recipe(recipe)[0]
    kind = {"images": ImagePreprocessing, "video": partial(VideoPreprocessing, frames=8)}[config.data.kind]
    constants = kind(side=config.data.size[-1], colours="grey", mean=(0.5,), std=(0.25,))
    objective = config.objective.build(1, config.data.size)
    made = save_pretrained(
        tmp_path / "model", objective, constants.model_dump(mode="json"), Provenance(data="nothing", steps=0)
    )
    records = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    batch = anyjepa.load(made).embed(records)
    assert len(batch) == 3
    for one in (records[1], records[1, ..., None]):
        np.testing.assert_allclose(anyjepa.load(made).embed(one), batch[1:2], atol=1e-5)


def test_records_of_different_lengths_keep_their_places(model, signals):
    mixed = [signals[0], signals[1, :, :250], signals[2, :, :400], signals[3]]
    vectors = model.embed(mixed, fs=100)
    for vector, signal in zip(vectors, mixed, strict=True):
        np.testing.assert_allclose(vector, model.embed(signal, fs=100)[0], atol=1e-5)


def test_a_long_record_is_the_mean_of_its_windows(model, signals):
    starts = (0, 200)  # 400 samples each, half-overlapping, to the end of 600
    windows = np.stack([model.embed(signals[0, :, s : s + 400], fs=100)[0] for s in starts])
    np.testing.assert_allclose(model.embed(signals[0], fs=100)[0], windows.mean(0), atol=1e-5)


def test_lead_order_unit_and_rate_do_not_matter(model, signals):
    expected = model.embed(signals, fs=100)
    turned = model.embed(signals[:, ::-1] * 1000, fs=100, leads=LEADS[::-1], unit="uV")
    np.testing.assert_allclose(turned, expected, atol=1e-5)
    np.testing.assert_allclose(model.embed(signals * 1000, fs=100, unit=1e-3), expected, atol=1e-5)
    derived = [lead for lead in LEADS if lead not in ("III", "aVR", "aVL", "aVF")]  # they follow from I and II
    rows = [LEADS.index(lead) for lead in derived]
    np.testing.assert_allclose(model.embed(signals[:, rows], fs=100, leads=derived), expected, atol=1e-2)


@pytest.mark.filterwarnings("ignore::anyjepa.errors.DataWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leads": [*LEADS[:-1], "V9"]}, "lead 'V6' is missing"),
        ({"leads": LEADS[:8]}, r"shape \(12, 600\) does not match the 8 leads"),
        ({"fs": 1}, "the sampling rate is 1 Hz"),
        ({"unit": "meters"}, "unit 'meters' is not a voltage"),
    ],
)
def test_embed_says_what_does_not_fit(model, signals, change, message):
    with pytest.raises(InputError, match=message):
        model.embed(signals, **{"fs": 100, **change})


@pytest.mark.filterwarnings("ignore::anyjepa.errors.DataWarning")
def test_embed_refuses_shapes_and_records_shorter_than_a_token(model, signals):
    with pytest.raises(InputError, match=r"0\.05 s long, one token is 0\.1 s"):
        model.embed(signals[:, :, :5], fs=100)
    with pytest.raises(InputError, match="swap the last two axes"):
        model.embed(signals.transpose(0, 2, 1), fs=100)
    with pytest.raises(InputError, match=r"must be \(records, leads, samples\)"):
        model.embed(signals[0, 0], fs=100)
    assert model.embed([], fs=100).shape == (0, 16)


def test_encode_gives_patch_tokens(model, signals):
    prepared = torch.zeros(2, 12, 400)
    assert model.encode(prepared).shape == (2, 40, 16)
    assert model.encode(prepared[..., :200]).shape == (2, 20, 16)


# --- fit, transformer


def test_fit_takes_arrays_in_one_call(tiny_recipe, signals, tmp_path):
    patients = [f"p{i}" for i in range(6)]
    model = anyjepa.fit(
        signals, fs=100, leads=LEADS, groups=patients, recipe=tiny_recipe, output=tmp_path / "run",
        edits=["training.batch_size=4", "data.leads=[I, II]"],
    )  # fmt: skip
    assert model.embed(signals, fs=100, leads=LEADS).shape == (6, 16)
    assert model.preprocessing.leads == ("I", "II")
    assert model.loaded.provenance.data == "6 ECGs of 6 patients (array)"
    assert '"arrays"' in (tmp_path / "run/environment.json").read_text()
    np.testing.assert_allclose(model.preprocessing.mean, signals[:, :2].mean((0, 2)), atol=1e-6)


# --- what programs around it do


@contextmanager
def float64_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "ambient", [float64_by_default, partial(torch.device, "meta"), torch.no_grad, torch.inference_mode]
)
def test_defaults_of_the_program_around_it_change_no_number(tiny_recipe, model, tiny_run, signals, ambient, tmp_path):
    fit = partial(anyjepa.fit, signals, fs=100, leads=LEADS, recipe=tiny_recipe, edits=["training.batch_size=4"])
    usual, tokens = fit(output=tmp_path / "usual"), model.encode(torch.zeros(1, 12, 600))
    with ambient():
        dtype, device = torch.get_default_dtype(), torch.get_default_device()
        assert np.array_equal(anyjepa.load(tiny_run).embed(signals, fs=100), model.embed(signals, fs=100))
        assert torch.equal(model.encode(torch.zeros(1, 12, 600, dtype=torch.float64, device="cpu")), tokens)
        fit(output=tmp_path / "ambient")
        assert (torch.get_default_dtype(), torch.get_default_device()) == (dtype, device)
    assert np.array_equal(anyjepa.load(tmp_path / "ambient").embed(signals, fs=100), usual.embed(signals, fs=100))


@pytest.mark.parametrize("none", [np.empty((0, 12, 600)), [], torch.empty(0, 12, 600)], ids=["array", "list", "tensor"])
def test_no_records_have_no_embeddings(model, none):
    assert model.embed(none, fs=100).shape == (0, 16)


# --- pretraining and its exposure


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-two simulated ECGs as a file, as a user's own."""
    path = tmp_path_factory.mktemp("files") / "mine.npz"
    records = simulate(SimulatorConfig(patients=22, fs=100, duration_s=6, seed=3))
    ids, patients = [r.id for r in records], [r.patient for r in records]
    np.savez(path, signals=[r.signal for r in records], fs=100, leads=LEADS, unit="mV", ids=ids, patients=patients)
    return path


@pytest.mark.parametrize("left_out", [True, False])
def test_an_evaluation_says_whether_its_test_part_was_pretrained_on(tiny_recipe, files, tmp_path, left_out):
    arrays = np.load(files)
    ids, patients = arrays["ids"].tolist(), arrays["patients"].tolist()
    tested = ids[:6] if left_out else []
    run = anyjepa.pretrain(
        tiny_recipe, files, tmp_path / "run", exclude=tested, edits=["training.steps=2", "training.optimiser.warmup=1"]
    )
    assert run.environment()["data"]["records"] == 22 - len(tested)
    table = LabelTable(
        ids=tuple(ids),
        classes=("even", "odd"),
        values=np.eye(2, dtype=np.float32)[np.arange(22) % 2],
        groups=tuple(f"mine/{patient}" for patient in patients),
        exclusive=True,
        split=("test",) * 6 + ("validation",) * 6 + ("train",) * 10,
    )
    result = anyjepa.evaluate(anyjepa.load(run.folder), files, labels=table, seeds=1)
    assert result.rows[0].transductive is not left_out
    assert [row.transductive for row in result.rows[1:]] == [False] * (len(result.rows) - 1)
    assert ("TRANSDUCTIVE: pretraining saw 6 of 6" in " ".join(result.notices)) is not left_out
    assert not run.results.exists()  # a loaded model is no run: nothing is written


def test_excluded_ids_must_be_in_the_data(tiny_recipe, tmp_path):
    with pytest.raises(InputError, match="records to exclude are not in the data: sim0-9"):
        anyjepa.pretrain(tiny_recipe, output=tmp_path / "run", exclude=["sim0-9"])
    assert not (tmp_path / "run").exists()


def test_the_embedded_set_is_evaluated_on_patients_that_were_not_trained_on(tiny_run):
    result = anyjepa.evaluate(tiny_run, seeds=1)
    assert not any(row.transductive for row in result.rows)
    assert not result.notices


def test_left_out_records_are_told(tiny_recipe, signals, tmp_path):
    short = [*signals, signals[0, :, :300]]
    with pytest.warns(DataWarning, match=r"skipped 1 record; the first: record '6': 3 s long, a crop needs 4 s"):
        anyjepa.fit(
            short, fs=100, leads=LEADS, recipe=tiny_recipe, output=tmp_path / "run",
            edits=["training.batch_size=4", "training.steps=2", "training.optimiser.warmup=1"],
        )  # fmt: skip


def test_two_runs_of_a_recipe_are_equal(tiny_recipe, tiny_run, tmp_path):
    run = anyjepa.pretrain(load_recipe(tiny_recipe)[0], output=tmp_path / "run")
    ours, theirs = (anyjepa.load(folder).encoder.state_dict() for folder in (run.folder, tiny_run))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_settings_are_laid_over_the_recipes_table_by_table(tiny_run):
    settings = {"supervised": {"fit": {"lr": 0.5, "warmup": 0}}, "windows": {"stride": 7}}
    result = anyjepa.evaluate(tiny_run, settings=settings, name="merged")
    fit = result.settings["supervised"]["fit"]
    assert (fit["steps"], fit["lr"], fit["warmup"]) == (3, 0.5, 0)  # steps: the recipe's
    assert (result.settings["windows"]["stride"], result.settings["windows"]["length"]) == (7, 400)


def test_embedding_files_prepares_each_record_once(model, tiny_run, files, tmp_path, monkeypatch):
    from anyjepa.data.ecg.preprocessing import EcgPreprocessing
    from anyjepa.runs.embed import embed_files

    aligned, align = [], EcgPreprocessing.align
    counting = lambda self, recording: (aligned.append(recording.id), align(self, recording))[1]  # noqa: E731
    monkeypatch.setattr(EcgPreprocessing, "align", counting)
    assert embed_files(tiny_run, [files], tmp_path / "z.npz")[0] == 22
    assert len(aligned) == 22


# --- absolute time


def test_absolute_time_is_kept_in_the_model_and_used_for_windows(tmp_path, tiny_recipe):
    """A long record's second window is encoded at its place in the record, not from 0."""
    run = anyjepa.pretrain(tiny_recipe, output=tmp_path / "run", edits=["data.absolute_time=true"])
    model = anyjepa.load(run.folder)
    assert model.preprocessing.absolute_time
    full = model.preprocessing.samples
    seconds = 2 * full / model.preprocessing.fs
    long = simulate(SimulatorConfig(patients=1, fs=model.preprocessing.fs, duration_s=seconds))[0]
    x = torch.from_numpy(whole_records(model.preprocessing, [long])[0])[None]
    patch = model.encoder.config.patch[0]
    starts = [0, full // 2, full]
    expected = [model.encoder.features(x[..., s : s + full], torch.tensor([s / patch]))[1].mean(1) for s in starts]
    found = model.embed(long.signal, fs=long.fs)
    np.testing.assert_allclose(found, torch.stack(expected).mean(0).detach().numpy(), rtol=1e-4, atol=1e-5)
