from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, sampled_from

from anyjepa.config import validated
from anyjepa.data.labels import LabelTable
from anyjepa.errors import DataWarning, InputError
from anyjepa.evaluation.splits import (
    Fixed,
    Folds,
    Holdout,
    Split,
    check_leakage,
    low_shot,
    splits,
    strata,
    stratify,
    warn_of_few,
)


def table(records: int, groups: int, classes: int, exclusive: bool, seed: int, split=None) -> LabelTable:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(classes, 2.0))
    if exclusive:
        values = np.eye(classes)[rng.choice(classes, records, p=shares)]
    else:
        values = rng.random((records, classes)) < shares
    return LabelTable(
        ids=tuple(f"r{i}" for i in range(records)),
        classes=tuple(f"c{i}" for i in range(classes)),
        values=values,
        groups=tuple(f"p{g}" for g in rng.integers(0, groups, records)),
        exclusive=exclusive,
        split=split,
    )


@given(seed=integers(0, 10_000), patients=integers(8, 30), classes=integers(2, 5), share=sampled_from([0.1, 0.2, 0.5]))
@settings(deadline=None, max_examples=60)
def test_a_few_large_patients_do_not_overfill_a_part(seed, patients, classes, share):
    """Beats of MIT-BIH: rare classes in a few patients once drew more than half of all beats into a fifth."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(50, 400, patients)
    groups = np.repeat([f"p{i}" for i in range(patients)], sizes)
    labels = np.concatenate([rng.choice(classes, n, p=rng.dirichlet(np.full(classes, 0.2))) for n in sizes])
    part = stratify(strata(np.eye(classes)[labels]), groups, (1 - share, share), rng)
    assert (part == 1).sum() <= share * sizes.sum() + sizes.max() / 2 + classes + 1


@given(
    seed=integers(0, 10_000),
    groups=integers(20, 80),
    classes=integers(2, 6),
    exclusive=booleans(),
    config=sampled_from([Folds(folds=3), Folds(folds=5, validation=0.25), Holdout(test=0.3)]),
)
@settings(deadline=None, max_examples=60)
def test_groups_never_cross_and_every_record_has_a_part(seed, groups, classes, exclusive, config):
    labels = table(100, groups, classes, exclusive, seed)
    tested = []
    for split in splits(labels, config, seed):
        check_leakage([split], labels.groups)
        together = np.concatenate([split.train, split.validation, split.test])
        assert sorted(together) == list(range(100))
        tested.extend(split.test)
    if isinstance(config, Folds):
        assert sorted(tested) == list(range(100))


@given(seed=integers(0, 10_000), folds=integers(2, 6), classes=integers(2, 6), exclusive=booleans())
@settings(deadline=None, max_examples=60)
def test_folds_share_out_every_class(seed, folds, classes, exclusive):
    labels = table(120, 10**9, classes, exclusive, seed)  # each record a group of its own
    columns = strata(labels.values)
    part = stratify(columns, labels.groups, [1 / folds] * folds, np.random.default_rng(seed))
    counts = np.array([columns[part == fold].sum(0) for fold in range(folds)])  # (folds, C + 1)
    rarest = np.argmin(np.where(columns.sum(0) > 0, columns.sum(0), np.inf))
    assert np.ptp(counts[:, rarest]) <= 1
    if exclusive:
        assert (np.ptp(counts, axis=0) <= 1).all()
        possible = columns.sum(0) >= folds
        assert (counts[:, possible] > 0).all()


def test_every_class_trains_where_that_is_possible():
    values = np.eye(3)[[0] * 50 + [1] * 6 + [2] * 4]
    labels = LabelTable(tuple(map(str, range(60))), ("a", "b", "c"), values, tuple(map(str, range(60))), exclusive=True)
    for seed in range(5):
        for split in splits(labels, Folds(folds=4), seed):
            assert (labels.values[split.train].sum(0) > 0).all()
            assert (labels.values[split.test].sum(0) > 0).all()


def test_splits_depend_on_the_seed_only():
    labels = table(100, 40, 3, True, 0)
    first, again, other = ([s.test.tolist() for s in splits(labels, Folds(), seed)] for seed in (0, 0, 1))
    assert first == again != other


def test_holdout_has_the_size_asked_for():
    (split,) = splits(table(1000, 10**9, 3, True, 0), Holdout(test=0.15, validation=0.1), 0)
    assert (len(split.test), len(split.validation)) == pytest.approx((150, 85), abs=3)


def test_the_fixed_split_is_obeyed():
    parts = ("train",) * 6 + ("validation",) * 2 + ("test",) * 2
    labels = table(10, 10**9, 2, True, 0, parts)
    (split,) = splits(labels, Fixed(), seed=3)
    assert (split.train.tolist(), split.validation.tolist(), split.test.tolist()) == ([*range(6)], [6, 7], [8, 9])
    labels = table(10, 10**9, 2, True, 0, ("train",) * 8 + ("test",) * 2)
    (split,) = splits(labels, Fixed(validation=0.25), seed=3)
    assert len(split.validation) == 2
    assert split.test.tolist() == [8, 9]


def test_impossible_splits_are_refused():
    with pytest.raises(InputError, match="needs a label table with a split column"):
        list(splits(table(10, 5, 2, True, 0), Fixed(), 0))
    with pytest.raises(InputError, match="part is empty \\(10 records in 1 groups"):
        list(splits(table(10, 1, 2, True, 0), Folds(), 0))
    with pytest.raises(InputError, match="test part is empty"):
        list(splits(table(4, 10**9, 2, True, 0, ("train",) * 4), Fixed(), 0))
    with pytest.raises(InputError, match=r"^split: folds must be at most 1000, got 1000000000$"):
        validated(Folds, {"folds": 10**9}, "split")


@given(seed=integers(0, 10_000), exclusive=booleans(), amount=integers(1, 8))
@settings(deadline=None, max_examples=40)
def test_low_shot_takes_k_a_class_and_spares_the_test(seed, exclusive, amount):
    labels = table(200, 10**9, 3, exclusive, seed)
    (split,) = splits(labels, Holdout(), seed)
    few = low_shot(labels, split, amount)
    assert few.test is split.test
    for rows, whole in ((few.train, split.train), (few.validation, split.validation)):
        assert set(rows) <= set(whole)
        found, available = strata(labels.values[rows]).sum(0), strata(labels.values[whole]).sum(0)
        assert (found >= np.minimum(available, amount)).all()
        if exclusive:
            assert (found == np.minimum(available, amount)).all()
    assert np.array_equal(few.train, low_shot(labels, split, amount).train)


def test_low_shot_prefers_new_patients():
    values = np.eye(2)[[0, 1] * 20]
    patients = tuple(f"p{i // 4}" for i in range(40))  # ten patients, two records of each class
    labels = LabelTable(tuple(map(str, range(40))), ("a", "b"), values, patients, exclusive=True)
    whole = Split(np.arange(40), np.arange(0), np.arange(0), seed=0)
    few = low_shot(labels, whole, 5)
    assert len({patients[row] for row in few.train if row % 2 == 0}) == 5


def test_classes_with_fewer_labels_than_asked_for_are_named_once(recwarn):
    values = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 1]])
    labels = LabelTable(tuple("abcd"), ("common", "rare", "none"), values, tuple("abcd"), exclusive=False)
    whole = [Split(np.array(train), np.array([3]), np.array([3]), seed=0) for train in ([0, 1, 2], [0, 1])]
    with pytest.warns(DataWarning, match=r"fewer than 2 training labels in some split.*: rare 1, none 0$") as told:
        warn_of_few(labels, whole, 2)
    assert len(told) == 1
    warn_of_few(labels, whole, 0.5)  # a share
    warn_of_few(LabelTable(tuple("abcd"), ("common",), values[:, :1], tuple("abcd"), exclusive=False), whole, 2)
    assert not recwarn


def test_low_shot_share_keeps_patients_whole():
    labels = table(200, 50, 3, True, 0)
    (split,) = splits(labels, Holdout(), 0)
    few = low_shot(labels, split, 0.25)
    assert len(few.train) == pytest.approx(0.25 * len(split.train), abs=5)
    chosen = {labels.groups[row] for row in few.train}
    assert all((labels.groups[row] in chosen) == (row in few.train) for row in split.train)
    with pytest.raises(InputError, match=r"low shot: 0\.001 of the train part is less than one of its"):
        low_shot(labels, split, 0.001)


def test_leaks_are_found():
    leaky = Split(np.array([0, 1]), np.array([2]), np.array([3]), seed=1, fold=2)
    with pytest.raises(InputError, match="seed 1, fold 2\\): group 'a' is in train and in test"):
        check_leakage([leaky], ["a", "b", "c", "a"])
    with pytest.raises(InputError, match="row '1' is in train and in validation"):
        check_leakage([Split(np.array([0, 1]), np.array([1]), np.array([3]), seed=0)], ["a", "b", "c", "d"])
    with pytest.warns(DataWarning, match="the same signal has two ids: 'h' is in train and in test"):
        check_leakage([leaky], ["a", "b", "c", "d"], ["h", "i", "j", "h"])
    check_leakage([leaky], ["a", "b", "c", "d"], ["h", "i", "j", "k"])
