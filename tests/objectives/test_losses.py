"""Distances against hand values; losses by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyjepa.errors import InputError
from anyjepa.objectives.losses import DistanceConfig, Losses, distance

PREDICTED = torch.tensor([[1.0, 2.0], [0.0, 4.0], [3.0, 0.0]])
TARGET = torch.tensor([[1.5, 0.0], [0.0, 4.0], [0.0, 2.0]])  # differences .5 2 | 0 0 | 3 2


@pytest.mark.parametrize(
    ("kind", "beta", "expected"),
    [
        ("l1", 1.0, (2.5 + 0 + 5) / 2),
        ("l2", 1.0, (4.25 + 0 + 13) / 2),
        ("smooth_l1", 1.0, (0.125 + 1.5 + 0 + 2.5 + 1.5) / 2),
        ("smooth_l1", 4.0, (0.25 + 4 + 9 + 4) / 8 / 2),
        ("cosine", 1.0, (1 - 1 / 5**0.5) + 0 + 1),
    ],
)
def test_distances_by_hand(kind: str, beta: float, expected: float) -> None:
    """The sum over tokens of the mean over dims, in float32 whatever comes in."""
    config = DistanceConfig(kind=kind, beta=beta)
    assert distance(config, PREDICTED, TARGET).item() == pytest.approx(expected, rel=1e-6)
    rounded = distance(config, PREDICTED.bfloat16(), TARGET.bfloat16())
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(expected, rel=1e-5)
    assert distance(config, PREDICTED[:0], TARGET[:0]).item() == 0


@pytest.mark.parametrize("kind", ["l1", "l2", "smooth_l1", "cosine"])
def test_distances_stay_in_float32_under_autocast(kind: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert distance(DistanceConfig(kind=kind), PREDICTED.bfloat16(), TARGET).dtype == torch.float32


def test_terms_are_means_and_the_total_is_their_sum() -> None:
    losses = Losses()
    for name, value in [("prediction", 1.0), ("variance", 0.25), ("prediction", 2.0)]:
        losses.add(name, torch.tensor(value))
    terms: dict[str, Tensor] = losses.terms()
    assert {name: term.item() for name, term in terms.items()} == {"prediction": 1.5, "variance": 0.25}
    assert losses.total().item() == 1.75


def test_losses_without_terms_say_so() -> None:
    with pytest.raises(InputError, match="returned Losses without terms"):
        Losses().total()
