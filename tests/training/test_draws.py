"""What a step sees depends on the seed and the step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers, sampled_from
from torch.utils.data import DataLoader

from anyjepa.errors import InputError
from anyjepa.masks.spans import SpanConfig
from anyjepa.objectives.batch import Batch
from anyjepa.training.config import OptimiserConfig, TrainingConfig
from anyjepa.training.draws import Collate, DrawnCrops, DrawSampler


@dataclass
class Records:
    """Forty records of 3 leads; a sample's value is its place, so a crop shows where it begins."""

    ids = tuple(f"r{i}" for i in range(40))

    def __len__(self) -> int:
        return 40

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        starts = np.array([rng.integers(50) for rng in rngs])
        return np.stack([np.tile(np.arange(start, start + 60, dtype=np.float32), (3, 1)) for start in starts]), starts


def config(**changes: object) -> TrainingConfig:
    return TrainingConfig(
        **{"steps": 7, "batch_size": 12, "optimiser": OptimiserConfig(warmup=1), "workers": 0, **changes}
    )  # type: ignore[arg-type]


def batches(
    settings: TrainingConfig, *, first_step: int = 0, rank: int = 0, world: int = 1, shares: np.ndarray | None = None
) -> list[Batch]:
    sampler = DrawSampler(settings, 40, first_step, rank, world, shares)
    collate = Collate(SpanConfig(min_span=2), (12,), sampler, stride=5)
    loader = DataLoader(
        DrawnCrops(Records(), settings.seed), batch_sampler=sampler, collate_fn=collate, num_workers=settings.workers
    )
    return list(loader)


def equal(a: list[Batch], b: list[Batch]) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x.x, y.x)
        assert torch.equal(x.masks[0].context, y.masks[0].context)
        assert torch.equal(x.masks[0].targets, y.masks[0].targets)
        assert (x.records, x.step, x.micro) == (y.records, y.step, y.micro)


def joined(parts: list[Batch]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    return (
        torch.cat([p.x for p in parts]),
        torch.cat([p.masks[0].targets for p in parts]),
        [r for p in parts for r in p.records],
    )


def test_workers_change_nothing() -> None:
    equal(batches(config()), batches(config(workers=2)))


@given(first=integers(0, 6), order=sampled_from(["shuffle", "replacement"]))
@settings(max_examples=10, deadline=None)
def test_a_later_start_sees_the_same_steps(first: int, order: str) -> None:
    equal(batches(config(order=order))[first:], batches(config(order=order), first_step=first))


@pytest.mark.parametrize(("world", "accumulation"), [(2, 1), (1, 3), (2, 3)])
def test_ranks_and_micro_batches_are_rows_of_one_batch(world: int, accumulation: int) -> None:
    whole = batches(config())
    ranks = [batches(config(accumulation=accumulation), rank=rank, world=world) for rank in range(world)]
    for step, batch in enumerate(whole):
        parts = [ranks[r][step * accumulation + m] for m in range(accumulation) for r in range(world)]
        x, targets, records = joined(parts)
        assert torch.equal(x, batch.x)
        assert torch.equal(targets, batch.masks[0].targets)
        assert records == batch.records
        assert {(p.samples, *p.targets) for p in parts} == {(12, batch.masks[0].targets.numel())}


def test_shuffle_sees_every_record_once_an_epoch() -> None:
    drawn = [r for b in batches(config(steps=10)) for r in b.records]  # 120 draws of 40 records: three epochs
    epochs = np.array(drawn).reshape(3, 40)
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs.tolist())
    assert (epochs[0] != epochs[1]).any()


@pytest.mark.parametrize(("batch_size", "checksum"), [(12, 71444), (30, 429665), (100, 4736390)])
def test_the_order_is_what_it_always_was(batch_size: int, checksum: int) -> None:
    """Epochs that end within a step, or begin several times in one."""
    drawn = [draw.index for batch in DrawSampler(config(batch_size=batch_size), 40) for draw in batch]
    assert drawn[:12] == [30, 8, 20, 28, 14, 9, 33, 4, 39, 23, 10, 21]
    assert drawn[36:48] == [35, 32, 3, 6, 25, 14, 11, 7, 16, 1, 8, 38]
    assert sum(place * index for place, index in enumerate(drawn)) == checksum


def test_start_is_the_crops_place_in_tokens() -> None:
    batch = batches(config())[0]
    assert batch.start is not None
    assert torch.equal(batch.start * 5, batch.x[:, 0, 0])


def test_another_seed_sees_other_crops_and_masks() -> None:
    a, b = batches(config())[0], batches(config(seed=1))[0]
    assert not torch.equal(a.x, b.x)
    assert a.records != b.records


def test_batch_must_divide_by_ranks_and_micro_batches() -> None:
    with pytest.raises(ValueError, match="batch_size 12 is not a multiple of 10"):
        DrawSampler(config(), 40, world=10)


SHARES = np.arange(40.0)  # the first record never


def test_shared_draws_depend_on_the_step_alone() -> None:
    settings = config(order="replacement")
    whole = batches(settings, shares=SHARES)
    equal(whole, batches(config(order="replacement", workers=2), shares=SHARES))
    equal(whole[3:], batches(settings, first_step=3, shares=SHARES))
    ranks = [batches(config(order="replacement", accumulation=3), rank=r, world=2, shares=SHARES) for r in (0, 1)]
    for step, batch in enumerate(whole):
        parts = [ranks[r][step * 3 + m] for m in range(3) for r in (0, 1)]
        assert joined(parts)[2] == batch.records


def test_records_are_drawn_by_their_shares() -> None:
    sampler = DrawSampler(config(order="replacement", steps=20, batch_size=1000), 40, shares=SHARES)
    drawn = np.array([draw.index for batch in sampler for draw in batch])
    counts, expected = np.bincount(drawn, minlength=40), SHARES / SHARES.sum() * len(drawn)
    assert counts[0] == 0
    assert ((counts - expected)[1:] ** 2 / expected[1:]).sum() < 73  # chi square of 38 degrees: exceeded once in 2,000


def test_shares_need_draws_with_replacement() -> None:
    with pytest.raises(InputError, match=r"training\.order=replacement"):
        DrawSampler(config(), 40, shares=SHARES)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("shuffle", [30, 8, 20, 28, 14, 9, 33, 4, 39, 23, 10, 21]),
        ("replacement", [9, 18, 8, 3, 39, 13, 14, 35, 22, 3, 4, 26]),
    ],
)
def test_draws_stay_what_they_were(order: str, expected: list[int]) -> None:
    assert batches(config(order=order))[0].records == expected
