"""Random numbers by address."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.randomness import generator, torch_seed

ADDRESSES = st.tuples(st.integers(0, 2**64 - 1), st.text(max_size=12), st.integers(0, 2**63))


def first(seed: int, stream: str, position: int, count: int = 4) -> list[float]:
    return generator(seed, stream, position).random(count).tolist()


@given(address=ADDRESSES)
@settings(deadline=None, max_examples=50)
def test_the_same_address_gives_the_same_numbers(address: tuple[int, str, int]) -> None:
    assert first(*address) == first(*address)


@given(one=ADDRESSES, other=ADDRESSES)
@settings(deadline=None, max_examples=100)
def test_another_address_gives_other_numbers(one: tuple[int, str, int], other: tuple[int, str, int]) -> None:
    assert (first(*one) == first(*other)) == (one == other)


@pytest.mark.parametrize("seed", [0, 2**53, 2**60, 2**64 - 2])
def test_neighbouring_seeds_and_positions_differ_however_large(seed: int) -> None:
    assert first(seed, "masks", 0) != first(seed + 1, "masks", 0)
    assert first(0, "masks", seed // 2) != first(0, "masks", seed // 2 + 1)


def test_negative_seeds_are_seeds() -> None:
    assert first(-1, "crop", 0) == first(2**64 - 1, "crop", 0)
    assert first(-1, "crop", 0) != first(1, "crop", 0)


def test_neighbours_are_not_correlated() -> None:
    draws = np.array([first(1, "crop", position, 500) for position in range(200)])
    other = np.array([first(1, "masks", position, 500) for position in range(200)])
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 4 / np.sqrt(draws.size)
    assert abs(np.corrcoef(draws.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(draws.size)
    assert abs(np.corrcoef(draws[:-1, 1:].ravel(), draws[1:, :-1].ravel())[0, 1]) < 4 / np.sqrt(draws.size)
    firsts = draws[:, 0]  # one number a position is uniform too
    assert np.abs(np.sort(firsts) - (np.arange(200) + 0.5) / 200).max() < 1.63 / np.sqrt(200)


def test_the_generator_is_pinned() -> None:
    """A change of these numbers changes every run that is repeated or resumed."""
    assert generator(0, "order", 0).integers(2**32, size=3).tolist() == [1037817030, 1990503080, 884739828]
    assert generator(7, "masks", 123).random(2).tolist() == [0.298223030615134, 0.8983706470213447]
    assert generator(2**63 + 1, "crop", 2**40).integers(1000, size=4).tolist() == [468, 911, 281, 153]
    assert generator(7, "order", 1).permutation(6).tolist() == [1, 0, 5, 2, 3, 4]
    assert torch_seed(0) == 2631537505891389924
    assert torch_seed(7, 3, 1, 0) == 6331627470963445944


@given(addresses=st.lists(st.lists(st.integers(0, 10**6), min_size=4, max_size=4).map(tuple), unique=True, max_size=9))
@settings(deadline=None, max_examples=50)
def test_torch_seeds(addresses: list[tuple[int, ...]]) -> None:
    seeds = [torch_seed(*address) for address in addresses]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == len(seeds)
    assert seeds == [torch_seed(*np.array(address)) for address in addresses]  # NumPy's integers are integers
