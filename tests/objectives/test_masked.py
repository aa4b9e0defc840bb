"""Masked prediction: who sees what, who learns, and the same loss however the batch is divided."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anyjepa.masks.base import Masks
from anyjepa.nn.positions import LearnedConfig
from anyjepa.nn.predictor import PredictorConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.losses import DistanceConfig, distance
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig


def objective(seed: int = 0, block: BlockConfig | None = None, **settings_: Any) -> MaskedPrediction:
    torch.manual_seed(seed)
    block = block or BlockConfig()
    config = MaskedPredictionConfig(
        encoder=ViTConfig(patch=(5,), dim=16, depth=2, heads=2, registers=1, block=block),
        predictor=PredictorConfig(dim=8, depth=2, heads=2, block=block, mask_tokens=2),
        **settings_,
    )
    model = MaskedPrediction(config, 3, (50,))
    for part in (model.student, model.predictor, model.target):
        for parameter in part.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def ragged(seed: int, batch: int, blocks: int = 1) -> Masks:
    """Contexts of 1 to 5 tokens, target blocks of 0 to 5 others; every sample has a target."""
    draw = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(10, generator=draw) for _ in range(batch)])
    context, hidden = order[:, :5], order[:, 5:]
    picks = [torch.randperm(5, generator=draw) for _ in range(batch * blocks)]
    targets = hidden.repeat_interleave(blocks, 0).gather(1, torch.stack(picks)).view(batch, blocks, 5)
    places = torch.arange(5)
    context_valid = places < torch.randint(1, 6, (batch, 1), generator=draw)
    targets_valid = places < torch.randint(0, 6, (batch, blocks, 1), generator=draw)
    targets_valid[:, 0, 0] = True
    return Masks(context, targets, context_valid, targets_valid)


def part(batch: Batch, rows: slice) -> Batch:
    """A micro-batch: some samples of the optimiser batch, with its sizes."""
    return batch._replace(x=batch.x[rows], masks=[group.rows(rows) for group in batch.masks])


def gradients(model: MaskedPrediction) -> dict[str, Tensor]:
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@given(seed=st.integers(0, 9999), cuts=st.sampled_from([(3,), (1, 2), (2, 5)]), kind=st.sampled_from(["l1", "cosine"]))
@settings(deadline=None, max_examples=15)
def test_micro_batches_add_up_to_the_batch(seed: int, cuts: tuple[int, ...], kind: str) -> None:
    """Two groups, ragged contexts and targets: sums of losses and gradients are those of the whole batch."""
    model = objective(seed, distance=DistanceConfig(kind=kind))
    x, groups = torch.randn(6, 3, 50), [ragged(seed, 6), ragged(seed + 1, 6, blocks=2)]
    batch = Batch.whole(x, groups)
    whole = model(batch).total()
    whole.backward()
    expected, total = gradients(model), 0.0
    edges = [0, *cuts, 6]
    for low, high in pairwise(edges):
        share = model(part(batch, slice(low, high))).total()
        share.backward()
        total += share.item()
    assert total == pytest.approx(whole.item(), rel=1e-5)
    actual = gradients(model)
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=1e-3, atol=1e-6)


def test_the_loss_by_hand() -> None:
    model, x, group = objective(), torch.randn(4, 3, 50), ragged(3, 4)
    targets, lost = model.target(x), 0.0
    for b in range(4):
        seen, hidden = group.context[b, group.context_valid[b]], group.targets[b, 0, group.targets_valid[b, 0]]
        context = model.student(x[b : b + 1], seen[None])
        predicted = model.predictor(context, seen[None], hidden[None, None], None, (10,))
        lost += (predicted - targets[b, hidden]).abs().mean(1).sum().item()
    losses = model(Batch.whole(x, [group]))
    assert losses.terms().keys() == {"prediction"}
    assert losses.total().item() == pytest.approx(lost / int(group.targets_valid.sum()), rel=1e-5)


def test_groups_are_averaged_each_with_its_mask_token() -> None:
    model, x = objective(), torch.randn(4, 3, 50)
    first, second = ragged(1, 4), ragged(2, 4, blocks=2)
    both = model(Batch.whole(x, [first, second])).total().item()
    alone = model(Batch.whole(x, [first])).total().item()
    again = model(Batch.whole(x, [second, second])).total().item()
    model.predictor.mask_tokens.data = model.predictor.mask_tokens.data.flip(0)
    second_alone = model(Batch.whole(x, [second])).total().item()  # with the second mask token
    assert both == pytest.approx((alone + second_alone) / 2, rel=1e-5)
    assert again != pytest.approx(second_alone, rel=1e-5)


def test_the_student_sees_its_context_only_and_the_teacher_everything() -> None:
    model, group = objective(), ragged(5, 2)
    x = torch.randn(2, 3, 50)
    hidden_changed = x.view(2, 3, 10, 5).clone()
    for b in range(2):
        seen = group.context[b, group.context_valid[b]]
        outside = torch.tensor([token for token in range(10) if token not in seen.tolist()])
        hidden_changed[b, :, outside] += 1
    changed = hidden_changed.flatten(2)
    same = model.student(x, group.context, group.context_valid).values
    assert torch.equal(model.student(changed, group.context, group.context_valid).values, same)
    assert ((model.target(x) - model.target(changed)).abs().amax(-1) > 1e-4).all()  # every target moves


def test_student_and_predictor_learn_and_the_teacher_does_not() -> None:
    model = objective()
    model(Batch.whole(torch.randn(4, 3, 50), [ragged(0, 4), ragged(1, 4)])).total().backward()
    learns = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in learns} == {"student", "predictor"}
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved == learns
    assert all(model.get_parameter(name).grad.abs().sum() > 0 for name in learns)


def test_training_mode_drops_in_the_student_not_in_the_targets() -> None:
    model = objective(block=BlockConfig(dropout=0.3, drop_path=0.3)).train()
    x, group = torch.randn(4, 3, 50), ragged(0, 4)
    targets = model.target(x)
    assert model(Batch.whole(x, [group])).total() != model(Batch.whole(x, [group])).total()
    assert torch.equal(model.target(x), targets)
    model.eval()
    assert model(Batch.whole(x, [group])).total() == model(Batch.whole(x, [group])).total()


def test_absolute_time_reaches_student_predictor_and_teacher() -> None:
    model, x, group = objective(), torch.randn(2, 3, 50), ragged(0, 2)
    start = torch.tensor([3.0, 70.0])
    targets = model.target(x, start)
    context = model.student(x, group.context, group.context_valid, start)
    predicted = model.predictor(context, group.context, group.targets, group.targets_valid, (10,), start)
    expected = distance(DistanceConfig(), predicted, group.of(targets)) / group.count()
    torch.testing.assert_close(model(Batch.whole(x, [group], start)).total(), expected)
    assert model(Batch.whole(x, [group])).total() != expected


def test_a_crop_shorter_than_the_full_input() -> None:
    masks = Masks(torch.tensor([[0, 4]] * 2), torch.tensor([[[1, 2, 3]]] * 2))
    loss = objective()(Batch.whole(torch.randn(2, 3, 25), [masks]))
    assert loss.total().isfinite()


def test_the_loss_is_float32_under_autocast() -> None:
    model, x, group = objective(), torch.randn(4, 3, 50), ragged(0, 4)
    exact = model(Batch.whole(x, [group])).total()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(Batch.whole(x, [group])).total()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=0.03)
    loss.backward()
    assert all(gradient.dtype == torch.float32 for gradient in gradients(model).values())


@pytest.mark.parametrize(("init", "ratio"), [("scaled", 16**-0.5), ("plain", 1.0)])
def test_the_predictor_is_scaled_by_the_encoders_depth(init: str, ratio: float) -> None:
    config = MaskedPredictionConfig(
        encoder=ViTConfig(patch=(5,), dim=16, depth=8, heads=2, init=init),
        predictor=PredictorConfig(dim=96, depth=2, heads=2, positions=LearnedConfig()),
    )
    weight = MaskedPrediction(config, 3, (50,)).predictor.transformer.blocks[0].mlp.fc2.weight
    assert weight.std().item() == pytest.approx(0.02 * ratio, rel=0.03)
