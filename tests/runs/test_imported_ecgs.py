"""Imported encoders of ECGs do what all models do: embed, evaluate, fine-tune, predict, export, start a pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.places import PlaceLabels
from anyjepa.runs.export import export
from anyjepa.weights.importers import import_weights

FIT = {"steps": 2, "batch": 8, "warmup": 1, "validate_every": 2, "precision": "32"}
ALL, IDS = list(LEADS), tuple(f"record {number}" for number in range(12))
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "kim": ("ecg_jepa_kim/epoch100.pth", {"heads": 4}),
    "ecg-fm": ("ecg_fm/pretrained.pt", {}),
}


@pytest.fixture(scope="module", params=list(PUBLISHED))
def imported(request: pytest.FixtureRequest, golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file, options = PUBLISHED[request.param]
    return import_weights(golden / file, tmp_path_factory.mktemp(request.param) / "model", **options)


@pytest.fixture(scope="module")
def signals() -> np.ndarray:
    """(12, 12, 5000) in mV at 500 Hz."""
    records = simulate(SimulatorConfig(patients=len(IDS), fs=500, duration_s=10, seed=3))
    return np.stack([record.signal for record in records])[:, :, :5000].astype(np.float32)


def test_embeddings_of_records_windows_and_files(imported: Path, signals: np.ndarray):
    model = anyjepa.load(imported, device="cpu")
    vectors = model.embed(signals[:3], fs=500, leads=ALL)
    assert vectors.shape == (3, 24)
    assert np.ptp(vectors, axis=0).min() > 0
    seconds = model.preprocessing.duration_s
    samples = model.prepared(signals[:3], fs=500, leads=ALL)
    _, starts, windows = model.embed_windows(samples, model.windows(seconds, seconds))
    assert starts.tolist() == [second for _ in range(3) for second in np.arange(0, 10, seconds)]
    if seconds == 10:
        np.testing.assert_allclose(windows, vectors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("protocol", ["linear", "finetune", "dense"])
def test_evaluation(imported: Path, signals: np.ndarray, protocol: str, tmp_path: Path):
    classes = [("odd", "even")[number % 2] for number in range(len(IDS))]
    options: dict[str, Any] = {"labels": classes, "groups": IDS, "ids": IDS, "fs": 500, "leads": ALL}
    options |= {"folds": 3, "seeds": 1, "min_count": 1, "bootstrap": 0}
    if protocol == "dense":
        samples = round(10 * anyjepa.load(imported).preprocessing.fs)
        options |= {"labels": PlaceLabels(IDS, ("odd", "even"), [np.arange(samples) // 100 % 2] * len(IDS))}
    settings = {"finetune": {"fit": FIT}, "linear": {"strengths": (0.1,)}}
    kept = None if protocol == "dense" else tmp_path / "kept"
    result = anyjepa.evaluate(imported, signals, protocol=protocol, settings=settings, save_classifier=kept, **options)
    if kept is None:
        model = anyjepa.load(imported, device="cpu")
        assert result.records == len(IDS) * int(10 / model.preprocessing.duration_s) * model.encoder.grid[0]
        return
    assert result.records == len(IDS)
    predictions = anyjepa.load(kept).predict_classes(signals[:2], fs=500, leads=ALL)
    if protocol == "finetune":
        _check_export(kept, signals[:2], tmp_path, predictions.probabilities, "probabilities")


def test_exported_graphs(imported: Path, signals: np.ndarray, tmp_path: Path):
    """Of a record as long as the input, and of a shorter one."""
    model = anyjepa.load(imported, device="cpu")
    for seconds in (model.preprocessing.duration_s, 3):
        part = signals[:2, :, : round(500 * seconds)]
        _check_export(imported, part, tmp_path, model.embed(part, fs=500, leads=ALL), "embedding")


def _check_export(model: Path, raw: np.ndarray, folder: Path, expected: np.ndarray, output: str) -> None:
    session = onnxruntime.InferenceSession(export(model, folder / "model.onnx", fs=500, leads=ALL))
    longest = session.get_inputs()[0].shape
    assert len(longest) == 3
    (ours,) = session.run([output], {"input": raw})
    assert np.abs(np.asarray(ours) - expected).max() < 1e-4


def test_pretraining_goes_on_with_single_leads(golden: Path, tmp_path: Path, cli):
    file, options = PUBLISHED["kim"]
    folder = import_weights(golden / file, tmp_path / "kim", **options)
    settings = {
        "data.fs": 250,
        "data.leads": "[I,II,V1,V2,V3,V4,V5,V6]",
        "data.simulator.patients": 8,
        "training.steps": 2,
        "training.batch_size": 4,
        "training.workers": 0,
        "objective.encoder": "{kind: vit, patch: [50], dim: 24, depth: 2, heads: 4, separate: true, cross: true, "
        "positions_again: true, positions: {kind: sincos, layout: halves}, "
        "block: {bias: true, norm_eps: 1.0e-5}}",
        "objective.masks.min_span": 3,
    }
    edits = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    done = cli("pretrain", "ecg-jepa-demo", *edits, "--from", folder, "--encoder-only", "-o", tmp_path / "run")
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "report.html").is_file()
    assert anyjepa.load(tmp_path / "run").encoder.grid[1] == 8
