"""Activation checkpointing changes the memory of a step, not its results."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyjepa.data.pair import Pair
from anyjepa.errors import InputError
from anyjepa.masks.spans import SpanConfig
from anyjepa.nn.conditional import ConditionalPredictorConfig
from anyjepa.nn.convolution import ConvConfig
from anyjepa.nn.genes import GeneConfig
from anyjepa.nn.positions import RotaryConfig
from anyjepa.nn.predictor import PredictorConfig
from anyjepa.nn.transformer import Block, BlockConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.base import Objective
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.objectives.next_embedding import NextEmbeddingConfig, NextEmbeddingPrediction
from anyjepa.objectives.paired import PairedPrediction, PairedPredictionConfig
from anyjepa.randomness import generator
from anyjepa.training.activations import checkpoint_activations
from anyjepa.training.precision import autocast

RANDOM = BlockConfig(dropout=0.1, attention_dropout=0.1, drop_path=0.3)


def masked(block: BlockConfig = RANDOM) -> tuple[Objective, Batch]:
    config = MaskedPredictionConfig(
        encoder=ViTConfig(patch=(5,), dim=16, depth=2, heads=2, block=block),
        predictor=PredictorConfig(dim=8, depth=2, heads=2, block=block),
        masks=SpanConfig(min_span=2),
    )
    model = MaskedPrediction(config, 2, (100,))
    return model, Batch.whole(torch.randn(6, 2, 100), config.masks.draw((20,), 6, generator(0, "masks", 0)))


def next_embedding() -> tuple[Objective, Batch]:
    encoder = ViTConfig(
        patch=(5,), dim=16, depth=2, heads=2, cls=True, causal=True, positions=RotaryConfig(), block=RANDOM
    )
    return NextEmbeddingPrediction(NextEmbeddingConfig(encoder=encoder), 2, (40,)), Batch.whole(torch.randn(6, 2, 40))


def genes() -> tuple[Objective, Batch]:
    config = PairedPredictionConfig(
        encoder=GeneConfig(hidden=(12,), tokens=3, dim=8, depth=2, heads=2, block=RANDOM),
        predictor=ConditionalPredictorConfig(condition_dim=4, depth=2, heads=2, block=RANDOM),
    )
    pair = Pair(torch.randn(6, 1, 20), torch.randn(6, 2, 4), torch.tensor([[True, False]] * 3 + [[True, True]] * 3))
    return PairedPrediction(config, 1, (20,)), Batch.whole(torch.randn(6, 1, 20), pair=pair)


OBJECTIVES = {"masked": masked, "next_embedding": next_embedding, "genes": genes}


def train(kind: str, precision: str, checkpointed: bool) -> tuple[list[Tensor], Objective, int]:
    """Losses of four steps, the trained objective, and the numbers kept for the last backward pass."""
    torch.manual_seed(0)
    model, batch = OBJECTIVES[kind]()
    if checkpointed:
        checkpoint_activations(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    losses, kept = [], 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    for step in range(4):
        torch.manual_seed(step)
        model.begin_step(step, 4)
        kept = 0
        with autocast(torch.device("cpu"), precision), torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):  # type: ignore[arg-type]
            loss = model(batch).total()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        model.end_step()
        losses.append(loss.detach())
    return losses, model, kept


@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("kind", OBJECTIVES)
def test_losses_and_weights_stay_the_same_and_less_is_kept(kind: str, precision: str) -> None:
    losses, model, kept = train(kind, precision, checkpointed=False)
    same_losses, same, fewer = train(kind, precision, checkpointed=True)
    assert losses == same_losses
    assert losses[0] != losses[-1]
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in model.state_dict().items())
    assert fewer < kept / 2


def test_the_teacher_computes_nothing_twice() -> None:
    model, batch = masked()
    checkpoint_activations(model)
    calls: list[str] = []
    for name in ("student", "target"):
        for block in model.get_submodule(name).modules():
            if isinstance(block, Block):
                block.attn.register_forward_hook(lambda *_, name=name: calls.append(name))
    model(batch).total().backward()
    assert (calls.count("student"), calls.count("target")) == (4, 2)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by torch.compile itself
def test_a_compiled_objective_gives_the_same_gradients() -> None:
    found = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        model, batch = masked(BlockConfig(drop_path=0.3))
        if checkpointed:
            checkpoint_activations(model)
            model.compile(backend="aot_eager")
        torch.manual_seed(1)
        model(batch).total().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(found[0], found[1])


def test_nothing_to_checkpoint_and_statistics_of_batches_are_refused() -> None:
    with pytest.raises(InputError, match="there are no transformer blocks"):
        checkpoint_activations(ConvConfig(widths=(4, 8), blocks=1).build(3, (8, 8)))
    with pytest.raises(InputError, match="BatchNorm would see every batch twice"):
        checkpoint_activations(masked(BlockConfig(norm="batch"))[0])
