"""The masked-token predictor: positions, independent blocks, ragged batches, published sizes."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anyjepa.nn.packing import Layout, Packed
from anyjepa.nn.positions import AnyPositions, AxialRotaryConfig, LearnedConfig, SinCosConfig
from anyjepa.nn.predictor import MaskedPredictor, PredictorConfig
from anyjepa.nn.transformer import BlockConfig

GRID = (12,)


def predictor(seed: int = 0, **settings_: object) -> MaskedPredictor:
    torch.manual_seed(seed)
    model = MaskedPredictor(PredictorConfig(**{"dim": 8, "depth": 2, "heads": 2, **settings_}), 16, GRID)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def context_of(index: Tensor, valid: Tensor | None = None, seed: int = 1) -> Packed:
    layout = Layout(*index.shape, valid)
    padded = torch.randn(*index.shape, 16, generator=torch.Generator().manual_seed(seed))
    return Packed(layout.pack(padded), layout)


SEEN = torch.tensor([[0, 3, 4], [1, 5, 11]])
HIDDEN = torch.tensor([[[1, 2, 9, 10]], [[0, 3, 6, 7]]])


@pytest.mark.parametrize("positions", [SinCosConfig(), LearnedConfig(), AxialRotaryConfig()])
def test_positions_decide_what_is_predicted(positions: AnyPositions) -> None:
    """Swapping two target positions swaps their predictions, nothing else."""
    model, context = predictor(positions=positions), context_of(SEEN)
    before = model(context, SEEN, HIDDEN, None, GRID).view(2, 4, 16)
    swapped = HIDDEN.clone()
    swapped[0, 0, 1], swapped[0, 0, 3] = HIDDEN[0, 0, 3], HIDDEN[0, 0, 1]
    after = model(context, SEEN, swapped, None, GRID).view(2, 4, 16)
    torch.testing.assert_close(after[0], before[0, [0, 3, 2, 1]], rtol=1e-4, atol=1e-5)
    assert torch.equal(after[1], before[1])
    assert (before[0, 1] - before[0, 3]).abs().max() > 1e-2


def test_context_positions_matter_and_its_order_does_not() -> None:
    model, context = predictor(), context_of(SEEN)
    before = model(context, SEEN, HIDDEN, None, GRID)
    moved = SEEN.clone()
    moved[:, 0] = 8
    assert (model(context, moved, HIDDEN, None, GRID) - before).abs().amax(-1).min() > 1e-4
    turned = Packed(context.values.view(2, 3, 16)[:, [2, 0, 1]].flatten(0, 1), context.layout)
    after = model(turned, SEEN[:, [2, 0, 1]], HIDDEN, None, GRID)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_blocks_are_predicted_independently() -> None:
    model, context = predictor(), context_of(SEEN)
    targets = torch.tensor([[[1, 2], [6, 7], [9, 10]], [[0, 3], [3, 2], [6, 7]]])
    together = model(context, SEEN, targets, None, GRID).view(2, 3, 2, 16)
    other = targets.clone()
    other[:, 1] = torch.tensor([8, 11])
    after = model(context, SEEN, other, None, GRID).view(2, 3, 2, 16)
    assert torch.equal(after[:, [0, 2]], together[:, [0, 2]])
    assert not torch.allclose(after[:, 1], together[:, 1])
    for m in range(3):
        alone = model(context, SEEN, targets[:, m : m + 1], None, GRID).view(2, 2, 16)
        torch.testing.assert_close(together[:, m], alone, rtol=1e-4, atol=1e-5)


@given(
    seed=st.integers(0, 9999),
    layer_scale=st.sampled_from([None, 0.5]),
    ragged_context=st.booleans(),
    rotary=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_a_ragged_batch_is_each_block_alone(
    seed: int, layer_scale: float | None, ragged_context: bool, rotary: bool
) -> None:
    positions = AxialRotaryConfig() if rotary else SinCosConfig()
    model = predictor(
        seed, positions=positions, block=BlockConfig(layer_scale=layer_scale, qk_norm="affine", bias=True)
    )
    draw = torch.Generator().manual_seed(seed)
    seen = torch.randint(12, (3, 4), generator=draw)
    seen_valid = torch.rand(3, 4, generator=draw) < 0.6 if ragged_context else None
    hidden = torch.randint(12, (3, 2, 5), generator=draw)
    hidden_valid = torch.rand(3, 2, 5, generator=draw) < 0.6
    context = context_of(seen, seen_valid, seed)
    together = model(context, seen, hidden, hidden_valid, GRID)
    assert together.shape == (int(hidden_valid.sum()), 16)
    padded, place = context.padded(), 0
    for b in range(3):
        rows = slice(None) if seen_valid is None else seen_valid[b]
        own = padded[b, rows]
        for m in range(2):
            targets = hidden[b, m, hidden_valid[b, m]]
            if len(targets) == 0:
                continue
            alone = model(Packed(own, Layout(1, len(own))), seen[b : b + 1, rows], targets[None, None], None, GRID)
            expected = together[place : place + len(targets)]
            torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)
            place += len(targets)


def test_each_group_has_its_mask_token() -> None:
    model, context = predictor(mask_tokens=2), context_of(SEEN)
    first, second, third = (model(context, SEEN, HIDDEN, None, GRID, group=group) for group in range(3))
    assert not torch.allclose(first, second, atol=1e-3)
    assert torch.equal(first, third)


@pytest.mark.parametrize("positions", [SinCosConfig(), AxialRotaryConfig()])
def test_absolute_time(positions: AnyPositions) -> None:
    """A crop that starts at token 4 is predicted as tokens 4.. of its record are."""
    model, context = predictor(positions=positions), context_of(SEEN)
    inside = model(context, SEEN + 4, HIDDEN + 4, None, (16,))
    cropped = model(context, SEEN, HIDDEN, None, GRID, start=torch.full((2,), 4.0))
    torch.testing.assert_close(cropped, inside)


def test_bfloat16_autocast() -> None:
    model, context = predictor(), context_of(SEEN)
    exact = model(context, SEEN, HIDDEN, None, GRID)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(Packed(context.values.bfloat16(), context.layout), SEEN, HIDDEN, None, GRID)
    torch.testing.assert_close(rounded.float(), exact, rtol=0.1, atol=0.15)


def test_residual_projections_can_be_scaled_by_the_encoders_depth() -> None:
    torch.manual_seed(0)
    config = PredictorConfig(dim=96, depth=2, heads=4)
    model = MaskedPredictor(config, 192, GRID, residual_depth=8)
    std = {name: p.std().item() for name, p in model.named_parameters() if p.ndim == 2 and len(p) > 1}
    for name, value in std.items():
        residual = name.endswith(("attn.proj.weight", "fc2.weight"))
        assert value == pytest.approx(0.02 / sqrt(16) if residual else 0.02, rel=0.03)


@pytest.mark.parametrize(
    ("dim", "width", "depth", "heads", "parameters"),
    [(192, 96, 8, 4, 923_328), (384, 192, 8, 6, 3_689_856), (768, 384, 12, 12, 21_833_472)],
)
def test_ecg_jepa_sizes(dim: int, width: int, depth: int, heads: int, parameters: int) -> None:
    with torch.device("meta"):
        model = MaskedPredictor(PredictorConfig(dim=width, depth=depth, heads=heads), dim, (200,))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_ijepa_cifar_size() -> None:
    config = PredictorConfig(
        dim=96, depth=4, heads=6, positions=LearnedConfig(), block=BlockConfig(bias=True, qkv_bias=True)
    )
    with torch.device("meta"):
        model = MaskedPredictor(config, 192, (8, 8))
    assert sum(parameter.numel() for parameter in model.parameters()) == 490_944


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by torch.compile itself
def test_one_graph_where_all_samples_have_the_same_numbers_of_tokens() -> None:
    """What the last block answers for is counted then, not searched for among the tokens."""
    model, context = predictor(), context_of(SEEN)

    def predict(values: Tensor) -> Tensor:
        return model(Packed(values, context.layout), SEEN, HIDDEN, None, GRID)

    compiled = torch.compile(predict, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(context.values), predict(context.values))
