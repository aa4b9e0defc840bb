"""One small model folder, written once; tests that break it take a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from anyjepa.nn.predictor import PredictorConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.weights.folder import save_pretrained
from anyjepa.weights.model import Provenance, TrainingRecords


@pytest.fixture(scope="session")
def objective() -> MaskedPrediction:
    torch.manual_seed(0)
    config = MaskedPredictionConfig(
        encoder=ViTConfig(patch=(5,), dim=8, depth=2, heads=2, registers=1),
        predictor=PredictorConfig(dim=8, depth=1, heads=2),
    )
    objective = MaskedPrediction(config, channels=2, size=(50,))
    with torch.no_grad():
        for parameter in objective.parameters():  # no zeros or ones that could hide a forgotten tensor
            parameter.copy_(torch.randn_like(parameter))
    return objective


@pytest.fixture(scope="session")
def pristine(objective: MaskedPrediction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(
        tmp_path_factory.mktemp("weights") / "model",
        objective,
        {"kind": "ecg", "fs": 500.0, "leads": ["I", "II"], "note": "Ångström"},
        Provenance(steps=7, data="ten records", recipe="small"),
        TrainingRecords.of(["a", "b"], ["patient 1"], ["digest"], ["mine"]),
    )


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "model"))
