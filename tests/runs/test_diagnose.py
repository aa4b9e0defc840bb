"""Diagnosis of runs, model folders and models that were damaged on purpose."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Cli
from safetensors.torch import load_file, save_file

import anyjepa
from anyjepa.errors import InputError

SIZES = ["objective.encoder.dim=16", "objective.encoder.depth=1", "objective.encoder.heads=2"]
TINY = [*SIZES, "objective.encoder.patch=[8,8]", "objective.predictor.dim=8", "objective.predictor.depth=1"]
SHORT = ["training.steps=4", "training.batch_size=8", "training.optimiser.warmup=1", "training.monitor_every=2"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diagnosed") / "run"
    anyjepa.pretrain("ijepa-demo", images, folder, edits=[*TINY, *SHORT])
    return folder


def test_a_run_and_its_model_folder_have_the_same_signs(run: Path, images: np.ndarray) -> None:
    whole, model = anyjepa.diagnose(run, images), anyjepa.diagnose(run / "model", images)
    assert whole.signs == model.signs
    assert whole.training is not None
    assert model.training is None
    expected = {"teacher_lidar", "teacher_rank", "student_spread", "teacher_cosine", "input_skill", "trivial_position"}
    assert expected <= whole.signs.keys()
    assert whole.signs["zero_weights"] == 0
    assert 1 <= whole.signs["teacher_lidar"] <= 16


def test_a_model_of_few_steps_may_still_ignore_its_input(run: Path, images: np.ndarray, tmp_path: Path) -> None:
    shutil.copytree(run / "model", folder := tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["predictor.proj.weight"] *= 1e-3  # the same prediction for every input
    save_file(weights, folder / "model.safetensors")
    assert "input ignored" not in str(anyjepa.diagnose(folder, images).verdict)
    config = json.loads((folder / "config.json").read_text())
    for provenance in ({"steps": 1000}, {"start": "a-model-of-many-steps"}):
        changed = config | {"provenance": config["provenance"] | provenance}
        (folder / "config.json").write_text(json.dumps(changed))
        assert "input ignored" in str(anyjepa.diagnose(folder, images).verdict)


def test_a_model_whose_weights_are_zero_is_found(run: Path, images: np.ndarray, tmp_path: Path) -> None:
    shutil.copytree(run / "model", folder := tmp_path / "model")
    for file in folder.glob("*.safetensors"):
        save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(file).items()}, file)
    found = anyjepa.diagnose(folder, images)
    assert {"complete collapse", "dead weights"} <= {finding.kind for finding in found.verdict.findings}
    assert not found.healthy


def test_inputs_that_are_equal_are_found(run: Path) -> None:
    same = np.full((10, 32, 32, 3), 200, dtype=np.uint8)
    found = anyjepa.diagnose(run / "model", same)
    assert found.verdict.findings[0].kind == "constant input"
    assert "anyjepa data inspect" in found.verdict.findings[0].advice


def test_an_encoder_without_its_predictor_is_diagnosed(run: Path, images: np.ndarray, tmp_path: Path) -> None:
    shutil.copytree(run / "model", folder := tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | {"predictor": False}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if k.startswith("encoder.")}, folder / "model.safetensors")
    signs = anyjepa.diagnose(folder, images).signs
    assert "teacher_rank" in signs
    assert "prediction_distance" not in signs


def test_too_few_records_are_refused(run: Path, images: np.ndarray) -> None:
    with pytest.raises(InputError, match="needs at least 8 records, got 3"):
        anyjepa.diagnose(run, images[:3])
    with pytest.raises(InputError, match="a model folder needs --data"):
        anyjepa.diagnose(run / "model")


def test_the_command_prints_json_and_its_status_says_whether_there_is_a_fault(cli: Cli, tiny_run: Path) -> None:
    done = cli("diagnose", tiny_run, "--json", "--samples", "8")
    found = json.loads(done.out)
    assert done.code == (0 if found["healthy"] else 1), done.err
    assert found["records"] == 8
    assert found["signs"]["teacher_spread"] > 0
    table = cli("diagnose", tiny_run, "--samples", "8")
    assert "verdict:" in table.out
    assert "Garrido" in table.out
