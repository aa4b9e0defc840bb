from __future__ import annotations

import numpy as np

from anyjepa.data.labels import LabelTable
from anyjepa.evaluation.overlap import Nothing, exposure
from anyjepa.evaluation.splits import Split
from anyjepa.weights.model import TrainingRecords

TABLE = LabelTable(("r0", "r1", "r2", "r3"), ("a", "b"), np.eye(2)[[0, 1, 0, 1]], ("p", "q", "q", "s"), exclusive=True)
SPLITS = [
    Split(np.array([3]), np.array([2]), np.array([0, 1]), seed=0),
    Split(np.array([0]), np.array([3]), np.array([1, 2]), seed=0, fold=1),
]


def test_a_seen_record_or_group_makes_it_transductive():
    found = exposure([TrainingRecords.of(["r0"], ["other"])] * 2, SPLITS, TABLE)
    assert (found.seen, found.tested, found.transductive) == (1, 3, True)
    assert str(found) == "TRANSDUCTIVE: pretraining saw 1 of 3 test records or their groups, unlabelled"
    found = exposure([TrainingRecords.of(["x"], ["q"])] * 2, SPLITS, TABLE)
    assert found.seen == 2


def test_what_counts_is_the_pretraining_of_that_split():
    per_fold = [TrainingRecords.of(["r2", "r3"], ["s"]), TrainingRecords.of(["r0"], ["p"])]
    assert exposure(per_fold, SPLITS, TABLE).transductive is False
    assert exposure(per_fold[::-1], SPLITS, TABLE).transductive


def test_unknown_pretraining_is_said_to_be_unknown():
    found = exposure([None, Nothing()], SPLITS, TABLE)
    assert found.transductive is None
    assert "unknown" in str(found)
    assert exposure([None, TrainingRecords.of(["r1"], [])], SPLITS, TABLE).transductive
    assert exposure([Nothing()] * 2, SPLITS, TABLE).transductive is False


def test_a_record_is_found_again_under_another_name():
    """Ids and groups depend on the folder that was given; the signal does not."""
    digests = [f"digest {row}" for row in range(len(TABLE))]
    unsigned = TrainingRecords.of(["elsewhere/r0"], ["elsewhere/a"])  # as older model folders are
    assert str(exposure([unsigned] * 2, SPLITS, TABLE, digests)).startswith("unknown whether pretraining saw test")
    assert exposure([TrainingRecords.of(["r0"], [])] * 2, SPLITS, TABLE, digests).seen == 1
    known = TrainingRecords.of(["elsewhere/r0"], ["elsewhere/a"], digests[:1])
    assert exposure([known] * 2, SPLITS, TABLE).transductive is False
    assert exposure([known] * 2, SPLITS, TABLE, digests).seen == 1
