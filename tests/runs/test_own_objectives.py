"""An objective of a user that could not be saved is refused before training."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import anyjepa
from anyjepa.errors import InputError
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.objectives.base import Objective, ObjectiveConfig
from anyjepa.objectives.losses import Losses

RECIPE = f"""
name: own
description: predicts the spread of an image from its tokens
data: {{kind: images, side: 16, simulator: {{train: 40, test: 20}}}}
objective:
  kind: {__name__}.Spread
  encoder: {{kind: conv, widths: [8, 16], blocks: 1, stem: [3, 1]}}
training: {{steps: 2, batch_size: 8, workers: 0, precision: "32", optimiser: {{warmup: 1}}}}
"""


class Spread(ObjectiveConfig):
    encoder: AnyEncoder
    part: str = "predictor"
    weights: str = "student"

    def build(self, channels, size, other=None):
        return SpreadObjective(self, channels, size)

    def build_predictor(self, grid):
        return nn.Linear(self.encoder.dim, 1)


class SpreadObjective(Objective):
    def __init__(self, config, channels, size):
        super().__init__()
        self.config = config
        self.student = config.encoder.build(channels, size)
        self.head = nn.Linear(config.encoder.dim, 1)

    def forward(self, batch):
        losses = Losses()
        predicted = self.head(self.student(batch.x).padded().mean(1))[:, 0]
        losses.add("spread", (predicted - batch.x.flatten(1).std(1)).square().sum() / batch.samples)
        return losses

    def encoders(self):
        return {self.config.weights: self.student}

    def parts(self):
        return {**super().parts(), self.config.part: self.head}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "own.yaml").write_text(RECIPE)
    return tmp_path / "own.yaml"


@pytest.mark.parametrize(
    ("key", "message"), [("part", "'head.weight' does not belong"), ("weights", "weights must be")]
)
def test_one_that_cannot_be_saved_is_refused_before_training(recipe: Path, tmp_path: Path, key: str, message: str):
    with pytest.raises(InputError, match=message) as error:
        anyjepa.pretrain(recipe, output=tmp_path / "run", edits={f"objective.{key}": "head"})
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
