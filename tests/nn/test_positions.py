"""Sin-cos, learned and rotary positions, against the references' tables and their own laws."""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anyjepa.nn.positions import (
    AdditivePositions,
    AnyPositions,
    AxialRotary,
    AxialRotaryConfig,
    LearnedConfig,
    Rotary,
    RotaryConfig,
    SinCosConfig,
    build_positions,
    rotate,
    sincos_table,
)

INTERLEAVED = SinCosConfig()
HALVES = SinCosConfig(layout="halves")
AXIAL = AxialRotaryConfig()
IJEPA = SinCosConfig(layout="halves", axes="last_first")
TIME_HALF = SinCosConfig(layout="halves", axes="time_half")


@pytest.mark.parametrize(
    ("model", "name", "config", "grid"),
    [
        ("ecg_jepa", "pos_embed_encoder", INTERLEAVED, (20,)),
        ("ecg_jepa", "pos_embed_predictor", INTERLEAVED, (20,)),
        ("ijepa", "pos_embed", IJEPA, (8, 8)),
        ("ijepa", "predictor_pos_embed", IJEPA, (8, 8)),
        ("vjepa", "pos_embed", HALVES, (4, 4, 4)),
        ("vjepa", "predictor_pos_embed", HALVES, (4, 4, 4)),
    ],
)
def test_tables_of_the_references(golden: Path, model: str, name: str, config: SinCosConfig, grid: tuple) -> None:
    expected = np.load(golden / model / "vectors.npz")[f"static/{name}"][0]
    table = AdditivePositions(config, expected.shape[1], grid)(grid)
    np.testing.assert_allclose(table, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("model", "grid"), [("nepa_image", (4, 4)), ("nepa_ecg", (20,))])
def test_rotary_angles_of_the_reference(golden: Path, model: str, grid: tuple) -> None:
    vectors = np.load(golden / model / "vectors.npz")
    angles = Rotary(RotaryConfig(), 12, grid)(grid)
    np.testing.assert_allclose(angles.cos(), vectors["static/rope_cos"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(angles.sin(), vectors["static/rope_sin"], rtol=0, atol=1e-6)


def test_half_the_dims_to_time() -> None:
    table = sincos_table(TIME_HALF, 16, (2, 3, 5))
    assert table.shape == (30, 16)
    time, row, column = table.split([8, 4, 4], dim=1)
    position = 1 * 15 + 2 * 5 + 4  # frame 1, row 2, column 4
    for block, place in ((time, 1), (row, 2), (column, 4)):
        waves = block.shape[1] // 2
        angles = torch.tensor([place * 10000 ** (-i / waves) for i in range(waves)])
        torch.testing.assert_close(block[position], torch.cat([angles.sin(), angles.cos()]))


@pytest.mark.parametrize(("dim", "grid"), [(20, (2, 2, 2)), (16, (4, 4)), (16, (8,))])
def test_half_to_time_needs_three_axes_and_a_fitting_width(dim: int, grid: tuple) -> None:
    with pytest.raises(ValueError, match="multiple of 8"):
        sincos_table(TIME_HALF, dim, grid)


@given(dim=st.integers(1, 40), axes=st.integers(1, 3), layout=st.sampled_from(["interleaved", "halves"]))
@settings(deadline=None, max_examples=40)
def test_every_width_gets_a_table_and_no_two_tokens_share_a_row(dim: int, axes: int, layout: str) -> None:
    grid = (5, 4, 3)[:axes]
    table = sincos_table(SinCosConfig(layout=layout), dim, grid)
    assert table.shape == (np.prod(grid), dim)
    assert table.abs().max() <= 1
    if dim >= 18:  # narrower ones may lose the last axis to the cut
        assert len(set(map(tuple, table.tolist()))) == len(table)


def built(config: AnyPositions, grid: tuple) -> Callable[..., Tensor]:
    table, angles = build_positions(config, 12, 1, grid)
    return table or angles


@pytest.mark.parametrize("config", [INTERLEAVED, HALVES, RotaryConfig(), AXIAL])
def test_a_crop_with_its_start_has_the_rows_of_its_record(config: AnyPositions) -> None:
    record = built(config, (200,))
    crops = record((50,), start=torch.tensor([50.0, 150.0, 0.0]))
    whole = record((200,))
    assert torch.equal(crops, torch.stack([whole[50:100], whole[150:], whole[:50]]))
    between = record((50,), start=torch.tensor([50.5]))[0]
    assert not torch.allclose(between, whole[50:100], atol=1e-3)


@pytest.mark.parametrize("config", [INTERLEAVED, RotaryConfig(), AXIAL, LearnedConfig()])
def test_a_shorter_input_has_the_first_rows(config: AnyPositions) -> None:
    positions = built(config, (200,))
    assert torch.equal(positions((30,)), positions((200,))[:30])


@pytest.mark.parametrize("config", [HALVES, RotaryConfig(), AXIAL])
def test_start_moves_the_first_axis_only(config: AnyPositions) -> None:
    clip = built(config, (6, 2, 3))
    moved = clip((2, 2, 3), start=torch.tensor([4.0]))[0]
    torch.testing.assert_close(moved, clip((6, 2, 3))[4 * 6 :], rtol=0, atol=1e-6)


def test_a_long_record_keeps_its_precision() -> None:
    """Half an hour at 20 tokens a second: float32 angles would be off by .002."""
    rows = AdditivePositions(INTERLEAVED, 8, (200,))((1,), start=torch.tensor([36001.0]))[0, 0]
    torch.testing.assert_close(rows[0], torch.tensor(36001.0, dtype=torch.float64).sin().float(), rtol=0, atol=1e-6)


def test_learned_positions_are_drawn_at_their_scale_and_trained() -> None:
    positions = AdditivePositions(LearnedConfig(std=0.05), 192, (64, 8))
    assert [name for name, _ in positions.named_parameters()] == ["learned"]
    assert positions.learned.shape == (512, 192)
    assert abs(positions.learned.std().item() - 0.05) < 1e-3


@pytest.mark.parametrize(
    ("full", "grid", "start"),
    [((8,), (9,), None), ((8, 8), (4, 8), None), ((8,), (8,), torch.zeros(1)), ((8, 8), (64,), None)],
)
def test_learned_positions_elsewhere_are_refused(full: tuple, grid: tuple, start: Tensor | None) -> None:
    with pytest.raises(ValueError, match="learned positions"):
        AdditivePositions(LearnedConfig(), 4, full)(grid, start)


def test_fixed_tables_are_neither_trained_nor_saved() -> None:
    for positions in (
        AdditivePositions(INTERLEAVED, 8, (9,)),
        Rotary(RotaryConfig(), 8, (9,)),
        AxialRotary(AXIAL, 8, (9,)),
    ):
        assert not list(positions.parameters())
        assert not positions.state_dict()


def test_rotary_frequencies() -> None:
    """NEPA: theta^-(0, 2/dh, ...) in one dimension, theta^-(0, 4/dh, ...) in two; patch centres on [-1, 1]."""
    angles = Rotary(RotaryConfig(theta=100.0), 64, (200,))((200,))
    assert angles.shape == (200, 64)
    assert torch.equal(angles[:, :32], angles[:, 32:])
    torch.testing.assert_close(angles[0, 0].item(), 2 * pi * (1 / 200 - 1))
    torch.testing.assert_close((angles[0, 31] / angles[0, 0]).log().item(), -log(100) * 31 / 32)
    image = Rotary(RotaryConfig(), 64, (16, 16))((16, 16))
    row_part, column_part = image[:, :16], image[:, 16:32]
    assert torch.equal(row_part[3 * 16 + 5], column_part[5 * 16 + 3])
    torch.testing.assert_close(row_part[3 * 16 + 5, 0].item(), 2 * pi * (7 / 16 - 1))


def test_rotary_needs_pairs_on_every_axis() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        Rotary(RotaryConfig(), 6, (4, 4))


def test_axial_frequencies() -> None:
    """V-JEPA 2: heads of 20 dims, three pairs per axis and one pair left over; the neighbours 2 i and 2 i + 1 turn."""
    grid, token = (2, 3, 4), 1 * 12 + 2 * 4 + 3  # frame 1, row 2, column 3
    first, second = AxialRotary(AXIAL, 20, grid)(grid)[token].chunk(2)
    powers = [0, 1, 2, 0, 1, 2]  # of the six dims of an axis, in thirds
    for axis, place in enumerate((1, 2, 3)):
        angles = place * 10000 ** (-torch.tensor(powers) / 3)
        torch.testing.assert_close(first[3 * axis : 3 * axis + 3], angles[0::2])
        torch.testing.assert_close(second[3 * axis : 3 * axis + 3], angles[1::2])
    assert first[9] == second[9] == 0


@pytest.mark.parametrize("width", [4, 7])
def test_axial_needs_pairs_on_every_axis(width: int) -> None:
    with pytest.raises(ValueError, match="need an even number, 6 or more, of dims per head, got"):
        AxialRotary(AXIAL, width, (2, 3, 4))


def test_rotation_keeps_lengths_and_sees_only_differences() -> None:
    q, k = torch.randn(2, 3, 2, 5, 8, dtype=torch.float64)
    angles = torch.randn(3, 1, 5, 4, dtype=torch.float64).repeat(1, 1, 1, 2)
    shift = torch.randn(4, dtype=torch.float64).repeat(2)
    torch.testing.assert_close(rotate(q, angles).norm(dim=-1), q.norm(dim=-1))
    here = rotate(q, angles) @ rotate(k, angles).mT
    torch.testing.assert_close(rotate(q, angles + shift) @ rotate(k, angles + shift).mT, here)
    assert torch.equal(rotate(q, torch.zeros(1, 1, 5, 8)), q)


def test_rotation_by_hand() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4)
    quarter_and_half = torch.tensor([pi / 2, pi, pi / 2, pi]).view(1, 1, 1, 4)
    expected = torch.tensor([-3.0, -2.0, 1.0, -4.0]).view(1, 1, 1, 4)  # pairs (1, 3) and (2, 4)
    torch.testing.assert_close(rotate(x, quarter_and_half), expected, rtol=0, atol=1e-6)
    assert rotate(x.bfloat16(), quarter_and_half).dtype == torch.bfloat16
