"""Schedules are pure functions of the step; the published curve is in the golden tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from anyjepa.objectives.targets import TeacherConfig
from anyjepa.training.config import OptimiserConfig, TrainingConfig
from anyjepa.training.schedules import cosine, warmup_cosine


def test_warmup_ends_at_the_peak_and_the_last_step_at_the_floor() -> None:
    values = [warmup_cosine(k, 100, peak=1e-3, start=1e-6, final=1e-5, warmup=10) for k in range(101)]
    assert values[0] == 1e-6
    assert values[10] == pytest.approx(1e-3)
    assert values[99] == pytest.approx(1e-5)
    assert values[100] == pytest.approx(1e-5)
    assert max(values) == pytest.approx(1e-3)


def test_no_warmup_starts_at_the_peak() -> None:
    assert warmup_cosine(0, 10, peak=1.0, start=0.0, final=0.0, warmup=0) == 1.0


@given(steps=integers(1, 1000), a=floats(0, 1), b=floats(0, 1))
def test_ramps_stay_between_their_ends(steps: int, a: float, b: float) -> None:
    low, high = min(a, b) - 1e-9, max(a, b) + 1e-9
    for ramp in (lambda k: cosine(k, steps, a, b), lambda k: TeacherConfig(momentum=(a, b)).momentum_at(k, steps)):
        values = [ramp(k) for k in (0, steps // 3, steps - 1, steps, 2 * steps)]
        assert all(low <= v <= high for v in values)
        assert values[0] == pytest.approx(a)
        assert values[-1] == pytest.approx(b)


def test_a_run_of_one_step_is_defined() -> None:
    assert cosine(0, 1, 0.3, 0.1) == 0.3


def test_first_step_one_is_one_step_ahead_and_one_longer() -> None:
    from_zero, from_one = (
        OptimiserConfig(lr=1.0, start_lr=0.0, final_lr=0.1, warmup=10, weight_decay=(0.0, 1.0), first_step=first)
        for first in (0, 1)
    )
    assert from_zero.at(0, 100)[0] == 0.0
    assert from_one.at(0, 100)[0] == pytest.approx(0.1)  # a tenth of the warm-up is done
    assert from_zero.at(99, 100) == from_one.at(99, 100) == pytest.approx((0.1, 1.0))


def test_a_stretched_schedule_does_not_reach_its_end() -> None:
    config = TrainingConfig(steps=100, stretch=1.25, optimiser=OptimiserConfig(warmup=10, final_lr=0.0))
    assert config.schedule_steps == 125
    assert config.optimiser.at(99, config.schedule_steps)[0] > 1e-5
