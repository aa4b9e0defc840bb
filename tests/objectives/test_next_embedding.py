"""Laws of next-embedding prediction (NEPA)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from anyjepa.errors import InputError
from anyjepa.nn.positions import RotaryConfig, SinCosConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.next_embedding import NextEmbeddingConfig, NextEmbeddingPrediction
from anyjepa.recipes.schema import load_recipe

BLOCK = BlockConfig(bias=True, qkv_bias=True, qk_norm="plain", layer_scale=0.1)


def encoder(**changes) -> ViTConfig:
    plain = {"patch": (5,), "dim": 16, "depth": 2, "heads": 2, "positions": RotaryConfig(), "block": BLOCK}
    return ViTConfig(**(plain | {"cls": True, "causal": True} | changes))


@pytest.fixture
def objective() -> NextEmbeddingPrediction:
    torch.manual_seed(0)
    return NextEmbeddingPrediction(NextEmbeddingConfig(encoder=encoder()), 2, (40,))


def test_the_loss_is_the_negative_cosine_of_each_output_with_the_next_patch(objective) -> None:
    x = torch.randn(3, 2, 15)  # 3 tokens
    prefix, patches = objective.student.features(x)
    outputs = torch.cat([prefix, patches], 1)
    embedded = objective.student.embed(x)
    pairs = [F.cosine_similarity(outputs[b, t], embedded[b, t], dim=0) for b in range(3) for t in range(3)]
    assert objective(Batch.whole(x)).total().item() == pytest.approx(-torch.stack(pairs).mean().item(), rel=1e-6)


def test_a_longer_horizon_predicts_later_patches() -> None:
    torch.manual_seed(0)
    objective = NextEmbeddingPrediction(NextEmbeddingConfig(encoder=encoder(), horizon=3), 2, (40,))
    x = torch.randn(2, 2, 40)
    prefix, patches = objective.student.features(x)
    outputs = torch.cat([prefix, patches], 1)  # 9 places; place 0 predicts patch 2
    expected = -F.cosine_similarity(outputs[:, :6], objective.student.embed(x)[:, 2:], dim=-1).mean()
    assert objective(Batch.whole(x)).total().item() == pytest.approx(expected.item(), rel=1e-6)


def test_no_gradient_flows_through_targets(objective) -> None:
    x = torch.randn(2, 2, 40)
    objective(Batch.whole(x)).total().backward()
    taught = objective.student.project.weight.grad.clone()
    objective.zero_grad()
    target = objective.student.embed(x).detach()
    prefix, patches = objective.student.features(x)
    predicted = torch.cat([prefix, patches], 1)[:, :-1]
    (-F.cosine_similarity(predicted, target, dim=-1).mean()).backward()
    assert torch.allclose(taught, objective.student.project.weight.grad, atol=1e-7)


def test_an_output_does_not_see_later_patches(objective) -> None:
    x = torch.randn(1, 2, 40)
    changed = x.clone()
    changed[..., 20:] += 1  # tokens 4 to 7
    before, after = objective.student.features(x), objective.student.features(changed)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1][:, :4], after[1][:, :4])
    assert not torch.allclose(before[1][:, 4:], after[1][:, 4:])


def test_micro_batches_add_up_to_the_batch(objective) -> None:
    x = torch.randn(4, 2, 40)
    whole = objective(Batch.whole(x))
    parts = [objective(Batch(half, samples=4)) for half in x.split(2)]
    assert sum(p.total() for p in parts).item() == pytest.approx(whole.total().item(), rel=1e-5)
    assert sum(p.watched["repeat"] for p in parts).item() == pytest.approx(whole.watched["repeat"].item(), rel=1e-5)


def test_repeating_the_patch_is_perfect_on_a_repeating_signal(objective) -> None:
    losses = objective(Batch.whole(torch.randn(2, 2, 1).expand(2, 2, 40)))
    assert losses.watched["repeat"].item() == pytest.approx(-1, abs=1e-5)


def test_a_crop_keeps_the_angles_that_it_has_in_its_record(objective) -> None:
    rotary = objective.student.rotary
    whole, crop = rotary((8,)), rotary((4,), torch.tensor([2.0]))
    assert torch.allclose(whole[2:6], crop[0], atol=1e-6)


def test_two_embeddings_of_one_record_are_equal_bit_for_bit() -> None:
    x, positions = torch.randn(2, 2, 40), RotaryConfig(rescale=2.0)
    model = NextEmbeddingPrediction(NextEmbeddingConfig(encoder=encoder(positions=positions)), 2, (40,)).student
    assert torch.equal(model.eval().features(x)[1], model.features(x)[1])
    assert not torch.equal(model.train().features(x)[1], model.features(x)[1])


def test_queries_have_the_length_that_qk_norm_gives(objective) -> None:
    attention = objective.student.transformer.blocks[0].attn
    q = attention.q_norm(torch.randn(100, 8))
    assert torch.allclose(q.norm(dim=-1), torch.full((100,), 8**0.5), atol=1e-3)


def test_the_average_is_the_model_and_gets_no_gradient() -> None:
    torch.manual_seed(0)
    averaged = NextEmbeddingPrediction(NextEmbeddingConfig(encoder=encoder(), ema=0.5), 2, (40,))
    assert list(averaged.encoders()) == ["average", "student"]
    assert averaged.average is not None
    averaged(Batch.whole(torch.randn(2, 2, 40))).total().backward()
    assert all(p.grad is None and not p.requires_grad for p in averaged.average.parameters())


def test_the_average_follows_the_weights_and_has_the_buffers_of_the_model() -> None:
    averaged = NextEmbeddingPrediction(NextEmbeddingConfig(encoder=encoder(), ema=0.5), 2, (40,))
    assert averaged.average is not None
    for model in (averaged.average, averaged.student):  # as of an encoder of one's own with a BatchNorm
        model.register_buffer("running_mean", torch.zeros(3))
    before = averaged.average.project.weight.clone()
    averaged.student.running_mean += 2
    averaged.student.project.weight.data += 1
    averaged.begin_step(1, 10)
    averaged.end_step()
    torch.testing.assert_close(averaged.average.project.weight, before + 0.5)
    assert averaged.average.running_mean.tolist() == [2, 2, 2]


def test_what_is_watched_are_patches_and_outputs_of_the_weights_in_training(objective) -> None:
    x = torch.randn(3, 2, 40)
    found = objective.representations(x)
    assert {name: tuple(z.shape) for name, z in found.items()} == {
        "embedding": (24, 16),
        "output": (24, 16),
        "student": (3, 16),
    }
    assert torch.equal(found["embedding"], objective.student.embed(x).flatten(0, 1))


def test_what_is_watched_is_of_all_places_in_large_batches(objective) -> None:
    x = torch.arange(8).repeat_interleave(5).float().expand(1024, 2, 40)  # each patch its own number
    places = {round(value, 4) for value in objective.representations(x)["embedding"][:, 0].tolist()}
    assert len(places) == 8


def test_a_horizon_beyond_the_input_is_refused() -> None:
    for horizon in (8, 9):
        with pytest.raises(ValueError, match=f"horizon {horizon} must be less than the 8 patches"):
            NextEmbeddingPrediction(NextEmbeddingConfig(encoder=encoder(), horizon=horizon), 2, (40,))
    with pytest.raises(InputError, match="horizon 300 must be less than the 256 patches"):
        load_recipe("nepa-b14", ["objective.horizon=300"])


def test_reading_projected_patches_is_reading_the_signal(objective) -> None:
    x = torch.randn(2, 2, 40)
    outputs = torch.cat(objective.student.features(x), 1)
    embedded = objective.student.embed(x)
    torch.testing.assert_close(objective.student.read(embedded, (8,)), outputs)
    torch.testing.assert_close(objective.student.read(embedded[:, :3], (8,)), outputs[:, :4])


@pytest.mark.parametrize(
    "missing", [{"causal": False}, {"cls": False}, {"absent": True}, {"positions": SinCosConfig()}]
)
def test_a_model_that_cannot_predict_is_refused(missing) -> None:
    with pytest.raises(ValidationError, match="must be"):
        NextEmbeddingConfig(encoder=encoder(**missing))
