"""Exported graphs give what the model gives, from raw records of any number and length."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import anyjepa
from anyjepa.data.ecg.graph import PrepareEcg
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, resample
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.images.graph import PreparePixels
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.video.graph import PrepareVideo
from anyjepa.data.video.preprocessing import VideoPreprocessing
from anyjepa.errors import InputError
from anyjepa.runs.export import INT8_TOLERANCE, _quantise, export

ECG = EcgPreprocessing(fs=100, samples=400, mean=(0.1,) * 12, std=(0.2,) * 12, clip=3)


def run_onnx(path: Path, raw: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return {name: np.asarray(value) for name, value in zip(names, session.run(names, {"input": raw}), strict=True)}


def metadata(path: Path) -> dict:
    return json.loads(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["anyjepa"])


@pytest.fixture(scope="module")
def signals() -> np.ndarray:
    records = simulate(SimulatorConfig(patients=3, fs=250, duration_s=5, seed=3))
    return np.stack([record.signal for record in records])[:, :, :1000]


def test_an_ecg_model_reads_other_leads_units_and_rates(cli, tiny_run, signals, tmp_path):
    names = [lead for lead in LEADS if lead not in ("III", "aVR", "aVL", "aVF")][::-1]
    raw = 1000 * signals[:, [LEADS.index(lead) for lead in names]]
    path = tmp_path / "model.onnx"
    done = cli("export", tiny_run, "-o", path, "--fs", 250, "--leads", ",".join(names), "--unit", "uV")
    assert done.code == 0, done.err
    model = anyjepa.load(tiny_run)
    for batch, samples in ((3, 1000), (1, 333)):
        part = raw[:batch, :, :samples].astype(np.float32)
        expected = model.embed(part, fs=250, leads=names, unit="uV")
        assert np.abs(run_onnx(path, part)["embedding"] - expected).max() < 1e-4
    about = metadata(path)
    assert (about["fs"], about["leads"], about["unit"], about["axes"]) == (250, names, "uV", {"samples": [50, 1000]})
    with np.load(tmp_path / "model.golden.npz") as golden:
        assert np.abs(run_onnx(path, golden["input"])["embedding"] - golden["embedding"]).max() < 1e-4


@pytest.mark.filterwarnings("ignore:3 of 3 records are shorter than the classifier's windows")
@pytest.mark.parametrize("head", ["mean", "dynamics", "middle"])
def test_a_classifier_also_gives_probabilities_and_decisions(tiny_run, signals, tmp_path, head):
    settings = {"linear": {"head": head}}
    anyjepa.evaluate(tiny_run, save_classifier=tmp_path / "classifier", name="exported", seeds=1, settings=settings)
    model, path = anyjepa.load(tmp_path / "classifier"), tmp_path / "model.onnx"
    assert model.head is not None
    model.head.train()
    export(model, path)
    assert model.head.training  # the graph is a copy, of the head, too
    model.head.eval()
    classifier = model.loaded.config.classifier
    assert classifier is not None
    assert metadata(path)["classes"] == list(classifier.classes)
    for samples in (400, 100):  # 100: fewer tokens than the longest lag
        part = signals[:, :, :samples].astype(np.float32)
        ours, theirs = model.predict_classes(part, fs=100), run_onnx(path, part)
        assert np.abs(theirs["probabilities"] - ours.probabilities).max() < 1e-4
        sure = np.abs(ours.probabilities - np.array(ours.config.thresholds or 0.5)) > 1e-4
        if "decisions" in theirs:
            assert (theirs["decisions"] == ours.decisions)[sure].all()


@pytest.mark.long
def test_int8_rounds_the_linear_layers_of_the_encoder_only(cli, tiny_run, signals, tmp_path):
    classifier = tmp_path / "classifier"
    anyjepa.evaluate(tiny_run, save_classifier=classifier, name="rounded", seeds=1, bootstrap=0)
    path, plain = tmp_path / "int8.onnx", export(classifier, tmp_path / "plain.onnx", fs=250)
    done = cli("export", classifier, "-o", path, "--fs", 250, "--int8")
    assert (done.code, done.err) == (0, "")
    part = signals.astype(np.float32)
    exact, rounded = run_onnx(plain, part), run_onnx(path, part)
    off = np.linalg.norm(exact["embedding"] - rounded["embedding"], axis=1)
    assert (off > 1e-5).all()
    assert (off < INT8_TOLERANCE * np.linalg.norm(exact["embedding"], axis=1)).all()
    assert np.abs(exact["probabilities"] - rounded["probabilities"]).max() < INT8_TOLERANCE
    about = metadata(path)
    assert (about["precision"], about["tolerance"]) == ("int8", INT8_TOLERANCE)
    assert "precision" not in metadata(plain)
    with np.load(tmp_path / "int8.golden.npz") as golden, np.load(tmp_path / "plain.golden.npz") as same:
        assert (golden["embedding"] == same["embedding"]).all()
    graph = onnx.load(path).graph
    unrounded = {one.name.split(".")[0] for one in graph.initializer if one.data_type == 1 and len(one.dims) == 2}
    assert {"prepare", "head"} <= unrounded
    multiplied = [node for node in graph.node if node.op_type == "MatMulInteger"]
    assert len(multiplied) == 5  # projection; queries, keys and values; output of the attention; two of the MLP


def test_int8_of_another_format_or_network_is_one_line(tiny_run, tmp_path):
    with pytest.raises(InputError, match=r"model\.pt2: int8 is for \.onnx files only"):
        export(tiny_run, tmp_path / "model.pt2", int8=True)
    graph = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]> g (float[1] x) => (float[1] y) {y = Abs(x)}'
    )
    with pytest.raises(InputError, match=r"model\.onnx: the encoder has no linear layers"):
        _quantise(tmp_path / "model.onnx", graph, tmp_path / "new.onnx")
    assert list(tmp_path.iterdir()) == []


def test_torch_export_gives_the_same(tiny_run, signals, tmp_path):
    path = export(tiny_run, tmp_path / "model.pt2", fs=250)
    files = {"anyjepa.json": ""}
    program = torch.export.load(path, extra_files=files).module()
    part = torch.from_numpy(signals[:2, :, :500].astype(np.float32))
    expected = anyjepa.load(tiny_run).embed(part.numpy(), fs=250)
    assert np.abs(program(part)[0].detach().numpy() - expected).max() < 1e-4
    assert json.loads(files["anyjepa.json"])["kind"] == "ecg"


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::anyjepa.errors.DataWarning")  # noise is not an ECG
@pytest.mark.parametrize("recipe", ["ijepa-demo", "vjepa-demo", "series-jepa-demo", "perturb-demo", "ecg-nepa-demo"])
def test_every_modality_gives_what_embed_gives(recipe, tmp_path):
    edits = {"training.steps": 2} | ({"data.hidden.steps": 2} if recipe == "perturb-demo" else {})
    run = anyjepa.pretrain(recipe, output=tmp_path / "run", edits=edits)
    path = export(run.folder, tmp_path / "model.onnx")
    model = anyjepa.load(run.folder)
    with np.load(path.with_suffix(".golden.npz")) as golden:
        options = {"fs": model.preprocessing.rate} if "ecg" in recipe else {}
        for raw in (golden["input"], golden["input"][:1]):
            assert np.abs(run_onnx(path, raw)["embedding"] - model.embed(raw, **options)).max() < 1e-4


@pytest.mark.parametrize("rates", [(500, 100), (360, 500), (250, 100), (128, 500), (100, 100)])
def test_resampling_in_the_graph_equals_that_of_the_preprocessing(rates, signals):
    ratio = Fraction(rates[1], rates[0])
    prepare = PrepareEcg(ECG, LEADS, 1.0, ratio)
    x = signals[:, :, :777].astype(np.float32) + np.linspace(0, 5, 777, dtype=np.float32)
    ours = np.stack([resample(one, *rates) for one in x])
    theirs = prepare.resample(torch.from_numpy(x)).numpy() if ratio != 1 else x
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() < 1e-5
    assert len(prepare.filter) % 2


def test_missing_leads_are_zero_or_absent_as_in_the_preprocessing(signals):
    names = ["I", "II", "V2"]
    raw = signals[0, [LEADS.index(lead) for lead in names]].astype(np.float32)
    with pytest.raises(InputError, match="export: lead 'V1' is missing"):
        PrepareEcg(ECG, names, 1.0, Fraction(1))
    for kind in ("zero", "mask"):
        preprocessing = ECG.model_copy(update={"missing_leads": kind})
        ours = preprocessing.prepare(Recording(id="x", signal=raw, fs=100, leads=tuple(names), source="s"))
        theirs = PrepareEcg(preprocessing, names, 1.0, Fraction(1))(torch.from_numpy(raw[None]))[0].numpy()
        assert np.allclose(ours, theirs, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(("size", "off"), [((32, 32), 0), ((33, 47), 0), ((20, 90), 0), ((200, 301), 0), ((47, 33), 1)])
@pytest.mark.parametrize("centre", [1.0, 0.875])
def test_images_are_resized_to_the_bit_or_in_upright_ones_to_one_grey_level(size, off, centre):
    preprocessing = ImagePreprocessing(side=32, centre=centre, mean=(0.5,) * 3, std=(0.2,) * 3)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    theirs = PreparePixels(preprocessing, centre, rounds=True)(torch.from_numpy(image[None]))[0].numpy()
    assert np.abs(theirs - preprocessing.prepare(image)).max() <= off / (255 * 0.2) + 1e-5


@pytest.mark.parametrize("size", [(16, 16), (47, 32), (33, 60)])
def test_videos_are_resized_as_before_the_encoder(size):
    preprocessing = VideoPreprocessing(side=16, frames=3, stride=2, mean=(0.5,) * 3, std=(0.2,) * 3)
    video = np.random.default_rng(0).integers(0, 256, (preprocessing.reach, *size, 3)).astype(np.uint8)
    theirs = PrepareVideo(preprocessing)(torch.from_numpy(video[None]))[0].numpy()
    assert np.abs(theirs - preprocessing.prepare(video)).max() < 1e-4


def test_what_cannot_be_exported_is_one_line(cli, tiny_run, tmp_path):
    done = cli("export", tiny_run, "-o", tmp_path / "model.tflite")
    assert (done.code, list(tmp_path.iterdir())) == (2, [])
    assert "model.tflite: models are exported as .onnx, .pt2" in done.err
