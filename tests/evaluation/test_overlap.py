from __future__ import annotations

from dataclasses import replace

import numpy as np

from anyjepa.data.labels import LabelTable
from anyjepa.evaluation.overlap import exposure
from anyjepa.evaluation.splits import Split
from anyjepa.weights.model import NOTHING, TrainingRecords

TABLE = LabelTable(("r0", "r1", "r2", "r3"), ("a", "b"), np.eye(2)[[0, 1, 0, 1]], ("p", "q", "q", "s"), exclusive=True)
SPLITS = [
    Split(np.array([3]), np.array([2]), np.array([0, 1]), seed=0),
    Split(np.array([0]), np.array([3]), np.array([1, 2]), seed=0, fold=1),
]


def test_a_seen_record_or_group_makes_it_transductive():
    found = exposure([TrainingRecords.of(["r0"], ["other"])] * 2, SPLITS, TABLE)
    assert (found.seen, found.tested, found.transductive) == (1, 3, True)
    assert str(found) == (
        "TRANSDUCTIVE: pretraining saw 1 of 3 test records or their groups, unlabelled; "
        "on new ones the score may be lower (pretrain --hold-out keeps some for testing)"
    )
    found = exposure([TrainingRecords.of(["x"], ["q"])] * 2, SPLITS, TABLE)
    assert found.seen == 2
    found = exposure([TrainingRecords.of(["x"], ["q"])] * 2, SPLITS, TABLE, labelled=True)
    assert str(found).startswith("CONTAMINATED: pretraining or fine-tuning saw 2 of 3 test records or their groups, ")


def test_what_counts_is_the_pretraining_of_that_split():
    per_fold = [TrainingRecords.of(["r2", "r3"], ["s"]), TrainingRecords.of(["r0"], ["p"])]
    assert exposure(per_fold, SPLITS, TABLE).transductive is False
    assert exposure(per_fold[::-1], SPLITS, TABLE).transductive


def test_unknown_pretraining_is_said_to_be_unknown():
    found = exposure([None, NOTHING], SPLITS, TABLE)
    assert found.transductive is None
    assert "unknown" in str(found)
    assert exposure([None, TrainingRecords.of(["r1"], [])], SPLITS, TABLE).transductive
    assert exposure([NOTHING] * 2, SPLITS, TABLE).transductive is False


def test_a_record_is_found_again_under_another_name():
    """Ids and groups depend on the folder that was given; the signal does not."""
    digests = [f"digest {row}" for row in range(len(TABLE))]
    unsigned = TrainingRecords.of(["elsewhere/r0"], ["elsewhere/a"])  # as older model folders are
    assert str(exposure([unsigned] * 2, SPLITS, TABLE, digests)).startswith("unknown whether pretraining saw test")
    assert exposure([TrainingRecords.of(["r0"], [])] * 2, SPLITS, TABLE, digests).seen == 1
    known = TrainingRecords.of(["elsewhere/r0"], ["elsewhere/a"], digests[:1])
    assert exposure([known] * 2, SPLITS, TABLE).transductive is False
    assert exposure([known] * 2, SPLITS, TABLE, digests).seen == 1


def test_a_patient_is_found_again_however_the_groups_are_spelt():
    known = TrainingRecords.of(["elsewhere"], ["mine/1"], ["another digest"], ["mine"])
    patients = ["mine/1", "mine/2", "mine/1", "mine/3"]
    digests = [f"digest {row}" for row in range(len(TABLE))]
    assert exposure([known] * 2, SPLITS, TABLE, digests).transductive is False
    assert exposure([known] * 2, SPLITS, TABLE, digests, ["mine"] * 4, patients).seen == 2


PTB_XL = ["ptb-xl"] * 4


def test_a_collection_contaminates_where_no_record_can_be_compared():
    """PhysioNet Challenge 2021 holds PTB-XL's test fold, under other names."""
    known = TrainingRecords.of(["a"], ["a"], ["another digest"], ["challenge-2021"])
    found = exposure([known] * 2, SPLITS, TABLE, ["d0", "d1", "d2", "d3"], PTB_XL)
    assert (found.transductive, found.seen, found.shared) == (True, 0, {"ptb-xl": "challenge-2021"})
    assert str(found) == (
        "CONTAMINATED: pretraining and this evaluation both use ptb-xl (in challenge-2021); no record can be matched "
        "by name, patient or signal, so it is unknown which of the 3 tested ones it saw"
    )
    for sources in (["ludb"] * 4, [""] * 4, ()):
        assert exposure([known] * 2, SPLITS, TABLE, ["d0", "d1", "d2", "d3"], sources).transductive is False


def test_the_same_set_does_not_contaminate_where_names_can_be_compared():
    """Pretrained on the training folds: they are known again, so that the test folds are not says something."""
    split = [Split(np.array([0, 1]), np.array([2]), np.array([3]), seed=0)]
    known = TrainingRecords.of(["r0", "r1"], ["p", "q"], ["d0", "d1"], ["ptb-xl"])
    found = exposure([known], split, TABLE, ["d0", "d1", "d2", "d3"], PTB_XL)
    assert (found.transductive, found.shared) == (False, {})
    other = TrainingRecords.of(["x"], ["y"], ["z"], ["ptb-xl"])
    assert "both use ptb-xl; no record" in str(exposure([other], split, TABLE, ["d0", "d1", "d2", "d3"], PTB_XL))


def test_records_that_were_seen_are_counted_before_sources():
    known = TrainingRecords.of(["r3"], ["s"], ["d3"], ["ptb-xl"])
    split = [Split(np.array([0, 1]), np.array([2]), np.array([3]), seed=0)]
    assert str(exposure([known], split, TABLE, ["d0", "d1", "d2", "d3"], PTB_XL)).startswith(
        "TRANSDUCTIVE: pretraining saw 1"
    )


def test_a_shared_model_knows_patients_by_the_signals_of_their_other_records():
    digests = ["d0", "d1", "d2", "d3"]
    shared = TrainingRecords.of(["r9"], ["x"], ["d1"]).without_names()
    split = [Split(np.array([0]), np.array([3]), np.array([2]), seed=0)]
    found = exposure([shared], split, TABLE, digests)
    assert (found.seen, found.tested) == (1, 1)  # r2, of the patient of r1
    split = [Split(np.array([0]), np.array([1]), np.array([3]), seed=0)]
    assert exposure([shared], split, TABLE, digests).transductive is False


def test_a_shared_model_that_met_no_signal_cannot_say_whether_it_met_the_patients():
    shared = TrainingRecords.of(["r0"], TABLE.groups, ["other"]).without_names()
    found = exposure([shared] * 2, SPLITS, TABLE, ["d0", "d1", "d2", "d3"])
    assert str(found) == (
        "unknown whether pretraining saw other records of the tested patients: a model folder does not name patients "
        "(the run folder does)"
    )
    alone = replace(TABLE, groups=TABLE.ids)  # no patients who could have other records
    assert exposure([shared] * 2, SPLITS, alone, ["d0", "d1", "d2", "d3"]).transductive is False


def test_a_patient_with_a_single_record_has_no_others():
    """A reader names the patient of such a record with the source."""
    shared = TrainingRecords.of((), (), ["other"], ["mine"]).without_names()
    digests, chapman = ["d0", "d1", "d2", "d3"], ["chapman-shaoxing"] * 4
    alone = replace(TABLE, groups=TABLE.ids)
    named = [f"chapman-shaoxing/{name}" for name in TABLE.ids]
    assert exposure([shared] * 2, SPLITS, alone, digests, chapman, named).transductive is False
    assert exposure([shared] * 2, SPLITS, alone, digests, ["ningbo"] * 4, named).transductive is None


def test_a_model_of_simulated_records_saw_no_patient():
    simulated = TrainingRecords.of((), (), ["other"], ["simulator"]).without_names()
    digests = ["d0", "d1", "d2", "d3"]
    assert exposure([simulated] * 2, SPLITS, TABLE, digests, PTB_XL).transductive is False
    assert exposure([simulated] * 2, SPLITS, TABLE, digests, ["simulator"] * 4).transductive is None
    tuned = simulated | TrainingRecords.of((), (), ["mine"], ["array"])  # fine-tuned on records in memory
    assert exposure([tuned] * 2, SPLITS, TABLE, digests, PTB_XL).transductive is None
