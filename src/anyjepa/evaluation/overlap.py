"""Check whether pretraining saw the test records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np

from anyjepa.data.families import data_sets
from anyjepa.data.labels import LabelTable
from anyjepa.data.listing import SIMULATED
from anyjepa.evaluation.splits import Split
from anyjepa.weights.model import TrainingRecords


@dataclass(frozen=True)
class Exposure:
    """Number of test records that pretraining saw, or of which it saw another record of their group; None: unknown.

    shared: data sets of both whose records cannot be compared, with the name of the source in pretraining.
    """

    seen: int | None
    tested: int
    unknown: str = ""  # what, and why
    shared: Mapping[str, str] = field(default_factory=dict)
    labelled: bool = False  # whether the encoder was fine-tuned, so that it may have seen the labels

    @property
    def transductive(self) -> bool | None:
        if self.shared:
            return True
        return None if self.seen is None else self.seen > 0

    def __str__(self) -> str:
        if self.shared and not self.seen:
            both = ", ".join(
                name if name == source else f"{name} (in {source})" for name, source in sorted(self.shared.items())
            )
            return (
                f"CONTAMINATED: pretraining and this evaluation both use {both}; no record can be matched by name, "
                f"patient or signal, so it is unknown which of the {self.tested} tested ones it saw"
            )
        if self.seen is None:
            return f"unknown whether pretraining saw {self.unknown}"
        if self.seen and self.labelled:
            return (
                f"CONTAMINATED: pretraining or fine-tuning saw {self.seen} of {self.tested} test records or their "
                "groups, perhaps with their labels"
            )
        if self.seen:
            return (
                f"TRANSDUCTIVE: pretraining saw {self.seen} of {self.tested} test records or their groups, unlabelled; "
                "on new ones the score may be lower (pretrain --hold-out keeps some for testing)"
            )
        return f"pretraining saw none of {self.tested} test records or their groups"


def exposure(
    seen: Iterable[TrainingRecords | None],
    splits: Iterable[Split],
    table: LabelTable,
    digests: Sequence[str] = (),
    sources: Sequence[str] = (),
    patients: Sequence[str] = (),
    labelled: bool = False,
) -> Exposure:
    """Count the test records that pretraining saw.

    seen: records that the encoder of each split was pretrained on; None: unknown. digests: digest of the signal of each
    record, which finds records whose name or folder has changed. If only signals are known, a group was seen if any
    record of it in the table was. sources: data set or folder of each record. patients: patients of each record as
    pretraining would name them, because the groups of the table can have other names or be something else. labelled:
    whether the encoder was also trained on labels.
    """
    people = [set(names) for names in zip(table.groups, patients or table.groups, strict=True)]
    tested: set[int] = set()
    met: set[int] = set()
    unknown = ""
    shared: dict[str, str] = {}
    for pretrained, split in zip(seen, splits, strict=True):
        tested.update(split.test.tolist())
        if pretrained is None:
            unknown = "test records: its training data are unknown"
            continue
        signals = pretrained.saw_signals(digests) if digests else []
        if signals is None:
            unknown = unknown or "test records: its model folder lists names of records, but no digests of signals"
        elif not pretrained.named and not signals and _others(pretrained, table, split.test, sources, people):
            unknown = unknown or (
                "other records of the tested patients: a model folder does not name patients (the run folder does)"
            )
        met.update(_met(pretrained, table, split.test, digests, set(signals or ()), people))
        shared |= _shared(pretrained, table, split.test, digests, sources, people)
    return Exposure(None if unknown and not met else len(met), len(tested), unknown, shared, labelled)


def _others(
    seen: TrainingRecords,
    table: LabelTable,
    tested: np.ndarray,
    sources: Sequence[str],
    people: Sequence[AbstractSet[str]],
) -> bool:
    """Whether pretraining may have seen other records of tested patients: not if each patient has a single record, and
    not if all of it was simulated, unless the test is, too."""
    if seen.sources == (SIMULATED,) and sources and all(sources[row] != SIMULATED for row in tested):
        return False
    own = [{name, f"{source}/{name}"} for name, source in zip(table.ids, sources or table.ids, strict=True)]
    return any(not people[row] <= own[row] for row in tested)


def _shared(
    seen: TrainingRecords,
    table: LabelTable,
    tested: np.ndarray,
    digests: Sequence[str],
    sources: Sequence[str],
    people: Sequence[AbstractSet[str]],
) -> dict[str, str]:
    """Data sets of test records that pretraining used as well, with the name of the source in pretraining.

    A data set is not included if pretraining has any record of it in this evaluation, in any part, because then names
    or signals can be compared.
    """
    used = {name: source for source in seen.sources for name in data_sets(source)}
    if not used or not sources:
        return {}
    members = [data_sets(source) for source in sources]
    of_test = {name for row in tested.tolist() for name in members[row]} & used.keys()
    rows = [row for row in range(len(table)) if members[row] & of_test]
    signals = seen.saw_signals(digests) if digests else []
    met = _met(seen, table, np.array(rows, int), digests, set(signals or ()), people)
    comparable = {name for row in met for name in members[row]}
    return {name: used[name] for name in of_test - comparable}


def _met(
    seen: TrainingRecords,
    table: LabelTable,
    rows: np.ndarray,
    digests: Sequence[str],
    signals: AbstractSet[str],
    people: Sequence[AbstractSet[str]],
) -> list[int]:
    ids = set(seen.saw_ids(table.ids[row] for row in rows))
    groups = set(seen.saw_groups({name for row in rows for name in people[row]}))
    if not seen.named:  # a group is known by the signals of its other records
        groups = {name for row, digest in enumerate(digests) if digest in signals for name in people[row]}
    return [
        row
        for row in rows.tolist()
        if table.ids[row] in ids or people[row] & groups or (signals and digests[row] in signals)
    ]
