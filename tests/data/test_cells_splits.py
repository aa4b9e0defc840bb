"""Splits: what is tested as new is new, and a leak is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anyjepa.data.cells.conditions import CONTROL, Condition, Perturbation
from anyjepa.data.cells.screen import Labels, Screen
from anyjepa.data.cells.splits import (
    ByCell,
    CellSplit,
    UnseenCombination,
    UnseenContext,
    UnseenPerturbation,
    check_leaks,
    split,
)
from anyjepa.errors import InputError

SINGLES = [f"P{n}" for n in range(12)]
RNG = np.random.default_rng(0)
PAIRS = sorted({tuple(sorted(RNG.choice(SINGLES, 2, replace=False))) for _ in range(80)})
TRIPLE = ("P0", "P1", "P2")
CONFIGS = [
    ByCell(),
    UnseenPerturbation(),
    *(UnseenCombination(seen=seen, test=0.4, validation=0.3) for seen in (0, 1, 2)),
    *(UnseenContext(label=label) for label in ("cell_type", "donor", "batch")),
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda c: "-".join(map(str, c.model_dump().values())))


@pytest.fixture(scope="module")
def screen():
    """12 singles, one of them at two doses too, most pairs, a triple; 10 cells each, 50 controls; random labels."""
    sets = [[Perturbation(name) for name in names] for names in (*((s,) for s in SINGLES), *PAIRS, TRIPLE)]
    conditions = [CONTROL, *map(Condition, map(frozenset, sets)), Condition(frozenset({Perturbation("P3", dose=2.0)}))]
    condition = np.r_[np.zeros(50, int), np.repeat(np.arange(1, len(conditions)), 10)]
    rng = np.random.default_rng(1)
    return Screen(
        ids=tuple(map(str, range(len(condition)))),
        genes=("G",),
        conditions=tuple(conditions),
        condition=condition,
        values=np.zeros((len(condition), 1), np.float32),
        library=np.zeros(len(condition)),
        **{
            name: Labels(("a", "b", "c"), rng.integers(0, 3, len(condition)))
            for name in ("cell_type", "donor", "batch")
        },
    )


@configs
def test_parts_are_disjoint_whole_and_the_same_for_a_seed(screen, config):
    one, again, other = split(screen, config, 3), split(screen, config, 3), split(screen, config, 4)
    rows = np.concatenate([one.train, one.validation, one.test, one.unused])
    assert np.array_equal(np.sort(rows), np.arange(len(screen)))
    assert np.array_equal(one.test, again.test)
    assert np.array_equal(one.train, again.train)
    assert not np.array_equal(one.train, other.train)
    assert min(map(len, (one.train, one.validation, one.test))) > 0


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), number=st.sampled_from(range(len(CONFIGS))))
def test_no_training_cell_has_what_is_tested(seed, number, screen):
    config = CONFIGS[number]
    try:
        done = split(screen, config, seed)
    except InputError:
        assume(not isinstance(config, UnseenCombination) or config.seen == 2)  # few pairs have two unseen parts
        raise
    train = {screen.conditions[n] for n in screen.condition[done.train]}
    test = {screen.conditions[n] for n in screen.condition[done.test]}
    alone = {name for condition in train if len(condition.names) == 1 for name in condition.names}
    if isinstance(config, UnseenPerturbation):
        assert all(len(condition.names) == 1 for condition in test)
        assert not {name for c in test for name in c.names} & {name for c in train for name in c.names}
    if isinstance(config, UnseenCombination):
        assert not train & test
        assert all(len(condition) == 2 and len(condition.names & alone) == config.seen for condition in test)
    if isinstance(config, UnseenContext):
        label, name = done.context
        column = getattr(screen, label)
        new = column.codes == column.names.index(name)
        assert np.array_equal(done.test, np.flatnonzero(new & (screen.condition != 0)))
        assert new[done.train][screen.condition[done.train] == 0].any()  # its controls are there
        assert not new[done.train][screen.condition[done.train] != 0].any()
    if not isinstance(config, ByCell):
        assert CONTROL in train
        assert CONTROL not in test
    else:
        assert train == test == set(screen.conditions)


def test_with_all_parts_seen_only_the_tested_pairs_are_missing(screen):
    done = split(screen, UnseenCombination(test=0.5), 0)
    left_out = {screen.conditions[n] for n in screen.condition[np.r_[done.validation, done.test]]}
    assert not len(done.unused)
    assert all(len(condition) == 2 for condition in left_out)
    assert len({screen.conditions[n] for n in screen.condition[done.test]}) == round(0.5 * len(PAIRS))


def test_an_unseen_compound_is_unseen_at_every_dose(screen):
    for seed in range(30):
        done = split(screen, UnseenPerturbation(), seed)
        if "P3" in done.names:
            tested = {str(screen.conditions[n]) for n in screen.condition[done.test]}
            assert {"P3", "P3@2"} <= tested
            return
    raise AssertionError("P3 was never tested")


def test_a_context_can_be_named(screen):
    assert split(screen, UnseenContext(name="b"), 0).context == ("cell_type", "b")
    with pytest.raises(InputError, match="no cell_type is 'd'; there are: a, b, c"):
        split(screen, UnseenContext(name="d"), 0)
    with pytest.raises(InputError, match="has no donor; set its column"):
        split(replace(screen, donor=None), UnseenContext(label="donor"), 0)


def test_an_empty_part_is_told(screen):
    cells = np.flatnonzero(screen.condition <= 12)
    singles = replace(screen.select(cells), conditions=screen.conditions[:13])
    message = r"validation part is empty \(12 conditions, 0 of them pairs\); without pairs, the kind .* be perturbation"
    with pytest.raises(InputError, match=f"split by combination: the {message}"):
        split(singles, UnseenCombination(), 0)


@configs
def test_a_leak_is_found(screen, config):
    done = split(screen, config, 0)
    for part in ("train", "validation"):
        leaking = replace(done, **{part: np.r_[getattr(done, part), done.test[:1]]})
        with pytest.raises(InputError, match="is in two parts"):
            check_leaks(screen, leaking)
        if not isinstance(config, ByCell):
            with pytest.raises(InputError, match=f"leak: .* in {part}"):
                check_leaks(screen, replace(leaking, test=done.test[1:]))


def test_a_name_in_a_training_combination_is_a_leak(screen):
    rows = {str(condition): np.flatnonzero(screen.condition == n) for n, condition in enumerate(screen.conditions)}
    pair = "+".join(next(pair for pair in PAIRS if "P3" in pair))
    none = np.empty(0, int)
    done = CellSplit(rows[pair], none, rows["P3"], none, seed=0, names=frozenset({"P3"}))
    with pytest.raises(InputError, match=rf"leak: '{pair.replace('+', '.')}' is in train, and tested as new"):
        check_leaks(screen, done)
