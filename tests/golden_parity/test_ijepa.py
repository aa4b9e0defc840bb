"""Numbers of the official I-JEPA code, matched by the rule of tests/golden/ijepa/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from meta_golden import MetaGolden, check_gradients, check_groups, check_import, check_schedules, check_step

from anyjepa.masks.base import Masks
from anyjepa.nn.tokens import patchify
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.masked import MaskedPrediction


@pytest.fixture(scope="module")
def ijepa(golden: Path) -> MetaGolden:
    return MetaGolden(golden / "ijepa", "ijepa")


@pytest.fixture(scope="module")
def masks(ijepa: MetaGolden) -> Masks:
    return Masks(ijepa.tensor("masks_enc")[0], ijepa.tensor("masks_pred").transpose(0, 1))  # (B, K), (B, M, T)


@pytest.fixture(scope="module")
def model(ijepa: MetaGolden, masks: Masks) -> MaskedPrediction:
    """Stored weights with the gradients of static/loss. Not changed by tests."""
    model = ijepa.objective()
    loss = model(Batch.whole(ijepa.tensor("x"), [masks])).total()
    loss.backward()
    ijepa.match("static/loss", loss)
    return model


@torch.no_grad()
def test_forward(ijepa: MetaGolden, model: MaskedPrediction, masks: Masks):
    x, student = ijepa.tensor("x"), model.student
    ijepa.match("static/patch_embed", student.project(patchify(x, (4, 4))))
    ijepa.match("static/pos_embed", student.positions((8, 8)))
    ijepa.match("static/predictor_pos_embed", model.predictor.positions((8, 8)))
    ijepa.match("static/encoder_full", student(x).padded())
    ijepa.match("static/target_out", model.target.encoder(x).padded())
    ijepa.match("static/target_ln", model.target(x))
    ijepa.match("static/target_masked", by_block(masks.of(model.target(x))))
    context = student(x, masks.context)
    ijepa.match("static/encoder_context", context.padded())
    predicted = model.predictor(context, masks.context, masks.targets, None, (8, 8))
    ijepa.match("static/predictor_out", by_block(predicted))


def by_block(rows: torch.Tensor) -> torch.Tensor:
    """(B * M * T, D) -> (M, B, T, D), the reference's order."""
    return rows.view(3, 4, 12, 48).transpose(0, 1)


def test_gradients(ijepa: MetaGolden, model: MaskedPrediction):
    check_gradients(ijepa, model)


def test_decay_groups(ijepa: MetaGolden):
    check_groups(ijepa)


@pytest.mark.parametrize("section", ["step_fresh", "step_resume"])
def test_training_step(ijepa: MetaGolden, masks: Masks, section: str):
    check_step(ijepa, section, ijepa.tensor("x"), [masks])


def test_schedules(ijepa: MetaGolden):
    check_schedules(ijepa)


def test_import_takes_the_teacher_and_keeps_the_student(ijepa: MetaGolden, tmp_path: Path):
    check_import(ijepa, tmp_path / "model")
