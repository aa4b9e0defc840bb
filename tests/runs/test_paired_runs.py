"""Pairs of views through the whole of it: pretraining, going on, evaluation, report, the model folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import anyjepa
from anyjepa.nn.convolution import ConvEncoder
from anyjepa.recipes.schema import Recipe
from anyjepa.report import write_report
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import Run
from anyjepa.runs.pretrain import pretrain
from anyjepa.training.logs import read_metrics


def views(**training: object) -> Recipe:
    common = {"steps": 4, "batch_size": 8, "workers": 0, "precision": "32", "log_every": 1, "checkpoint_every": 2}
    return Recipe.model_validate(
        {
            "name": "views",
            "description": "two views of small images",
            "data": {
                "kind": "images",
                "simulator": {"train": 60, "test": 40},
                "augmentation": {"crop": {"scale": [0.3, 1.0]}, "flip": 0.5},
            },
            "objective": {
                "kind": "paired",
                "encoder": {"kind": "conv", "widths": [4, 8, 8], "blocks": 1, "heads": 2},
                "projector": {"widths": [16, 8]},
            },
            "training": {**common, "optimiser": {"warmup": 1}, **training},
            "evaluation": {
                "seeds": 1,
                "min_count": 1,
                "bootstrap": 20,
                "attentive": {"fit": {"steps": 2, "validate_every": 2}},
                "finetune": {"fit": {"steps": 2, "warmup": 1, "validate_every": 2}},
            },
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return pretrain(views(), output=tmp_path_factory.mktemp("views") / "run")


def test_every_term_is_logged(run: Run) -> None:
    last = read_metrics(run.folder / "metrics.csv")[-1]
    assert {"prediction", "variance", "covariance", "student_between", "student_rank"} <= last.keys()
    assert last["loss"] == pytest.approx(last["prediction"] + last["variance"] + last["covariance"], rel=1e-5)


def test_it_goes_on_with_the_same_numbers_and_rare_monitoring_changes_none(run: Run, tmp_path: Path) -> None:
    """Also of the running statistics, which a measurement of collapse must not move."""
    half = pretrain(views(), output=tmp_path / "half", edits=["training.monitor_every=3"])
    for step in (4,):
        (half.folder / f"checkpoints/step-{step:08d}.ckpt").unlink()
    (half.folder / "metrics.csv").write_text("")
    pretrain(views(), output=half.folder, resume=True)
    states = [
        torch.load(folder / "checkpoints/step-00000004.ckpt", weights_only=True)["state_dict"]
        for folder in (run.folder, half.folder)
    ]
    assert states[0].keys() == states[1].keys()
    assert any("running_var" in name for name in states[0])
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name


def test_the_model_is_the_encoder_and_is_evaluated_in_every_way(run: Run) -> None:
    model = anyjepa.load(run.model)
    assert isinstance(model.encoder, ConvEncoder)
    embedded = model.embed(np.zeros((3, 40, 32, 3), np.uint8))
    assert embedded.shape == (3, 8)
    for protocol in ("linear", "knn", "attentive", "finetune"):
        result = evaluate(run, protocol=protocol, task="class")
        assert len(result.rows) > 1, protocol
    assert "views" in write_report(run.folder).read_text()
