"""The simulated time course, and pairs of earlier and later cells."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from anyjepa.config import validated
from anyjepa.data.cells.conditions import CONTROL, Condition, Perturbation, since, time_course
from anyjepa.data.cells.matching import Controls, MatchingConfig
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.data.cells.source import CellDataConfig, training_data
from anyjepa.data.cells.time_simulator import TimeSimulatorConfig, simulate_times
from anyjepa.errors import InputError
from anyjepa.randomness import generator

SMALL = TimeSimulatorConfig(genes=60, regulators=12, moved=8, times=(1, 2, 4, 6), cells=40)


@pytest.fixture(scope="module")
def screen():
    return simulate_times(SMALL)


def at(time: float) -> Condition:
    return Condition(frozenset([Perturbation("time", time=time)]))


def test_the_truth_is_what_cells_are_on_average(screen):
    assert screen.truth.shape == (5, 60)
    assert np.abs(screen.means() - screen.truth).mean() < 0.2
    assert np.array_equal(simulate_times(SMALL).values, screen.values)
    assert not np.array_equal(simulate_times(SMALL.model_copy(update={"seed": 1})).values, screen.values)


def test_changes_saturate_and_lineages_part():
    screen = simulate_times(TimeSimulatorConfig(cells=400))
    means = [screen.select(np.flatnonzero(screen.cell_type.codes == lineage)).means() for lineage in (0, 1)]
    steps = np.linalg.norm(np.diff(screen.truth, axis=0), axis=1)
    assert steps[-1] < 0.5 * steps[0]
    apart = np.linalg.norm(means[0] - means[1], axis=1)
    assert apart[0] < 2 < apart[-1]


@pytest.mark.parametrize(
    ("wrong", "message"), [({"moved": 31}, "none may exceed the next"), ({"times": (2, 1)}, "times must increase")]
)
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        TimeSimulatorConfig(**wrong)


def test_the_time_between():
    assert since(CONTROL, at(3)) == at(3)
    assert since(at(1), at(3)) == at(2)
    assert since(at(3), CONTROL) == at(-3)
    assert time_course([CONTROL, at(3), at(1)]) == [0, 3, 1]
    for others in (
        [CONTROL],
        [CONTROL, at(0)],
        [CONTROL, at(1) + at(2)],
        [CONTROL, at(1), Condition(frozenset([Perturbation("b", time=1)]))],
    ):
        assert time_course(others) is None


def test_a_later_cell_comes_from_any_earlier_one_of_its_lineage(screen):
    split = {"kind": "amount", "of": "time", "above": 4}
    plain = {"simulator": SMALL.model_dump(), "genes": 60, "split": split, "matching": {"before": "earlier"}}
    dataset = training_data(validated(CellDataConfig, plain | {"hidden": {"steps": 0}}, "data"), [])
    known, cells = dataset.screen, np.arange(len(dataset))
    assert max(time_course(known.conditions)[number] for number in known.condition[dataset.rows]) == 4
    rngs = [generator(0, "crop", place) for place in cells]
    x, (other, condition, valid) = dataset.pairs(cells, rngs, rngs, step=0)
    place = {row.tobytes(): number for number, row in enumerate(known.rows(np.arange(len(known))))}
    times, seen = np.array([0, 1, 2, 4, 6]), set()
    for i in cells:
        before, after = (place[rows[i, 0].tobytes()] for rows in (x, other))
        start, end = times[known.condition[[before, after]]]
        assert known.cell_type.codes[before] == known.cell_type.codes[after]
        assert before in dataset.rows
        assert valid[i].any() == (end > 0)
        assert start < end or (before == after and end == 0)
        np.testing.assert_allclose(condition[i, 0, -2], np.log1p(end - start), rtol=1e-6)
        seen.add((start, end))
    assert seen == {(0, 0), (0, 1), (0, 2), (1, 2), (0, 4), (1, 4), (2, 4)}


def test_other_screens_have_no_earlier_cells():
    screen = simulate(CellSimulatorConfig(genes=30, regulators=5, singles=3, doubles=0, cells=5, controls=5))
    rows = np.arange(len(screen))
    with pytest.raises(InputError, match="=earlier needs conditions that are one perturbation"):
        Controls(screen, rows[screen.condition > 0], rows, MatchingConfig(before="earlier"))
