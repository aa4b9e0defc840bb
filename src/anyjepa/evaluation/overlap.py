"""Did pretraining see the records that are tested?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from anyjepa.data.families import data_sets
from anyjepa.data.labels import LabelTable
from anyjepa.evaluation.splits import Split


class Seen(Protocol):
    """What an encoder was pretrained on; `weights.model.TrainingRecords` is one."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the data sets or folders, as far as they are known."""
        ...

    def saw_ids(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` that were trained on."""
        ...

    def saw_groups(self, groups: Iterable[str]) -> list[str]:
        """Those of `groups` that were trained on."""
        ...

    def saw_signals(self, digests: Iterable[str]) -> list[str] | None:
        """Those of the records' digests (`signal_hash`) that were trained on, under whatever name; None: unknown."""
        ...


class Nothing:
    """`Seen` of random weights."""

    sources: tuple[str, ...] = ()

    def saw_ids(self, ids: Iterable[str]) -> list[str]:
        return []

    def saw_groups(self, groups: Iterable[str]) -> list[str]:
        return []

    def saw_signals(self, digests: Iterable[str]) -> list[str]:
        return []


@dataclass(frozen=True)
class Exposure:
    """How many of the tested records pretraining saw, themselves or by another record of their group; None: unknown.

    shared: data sets that both come from, where nothing tells the records apart, and what pretraining's was called.
    """

    seen: int | None
    tested: int
    unknown: str = ""  # why
    shared: Mapping[str, str] = field(default_factory=dict)
    labelled: bool = False  # the encoder was fine-tuned, so that it may know their labels

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
                f"CONTAMINATED: pretraining and this evaluation both use {both}; no record is known again by name, "
                f"patient or signal, so it is unknown which of the {self.tested} tested ones it saw"
            )
        if self.seen is None:
            return f"unknown whether pretraining saw test records: {self.unknown}"
        if self.seen and self.labelled:
            return (
                f"CONTAMINATED: pretraining or fine-tuning saw {self.seen} of {self.tested} test records or their "
                "groups, perhaps with their labels"
            )
        if self.seen:
            return (
                f"TRANSDUCTIVE: pretraining saw {self.seen} of {self.tested} test records or their groups, unlabelled"
            )
        return f"pretraining saw none of {self.tested} test records or their groups"


def exposure(
    seen: Iterable[Seen | None],
    splits: Iterable[Split],
    table: LabelTable,
    digests: Sequence[str] = (),
    sources: Sequence[str] = (),
    patients: Sequence[str] = (),
    labelled: bool = False,
) -> Exposure:
    """`seen`: for each split what its encoder was pretrained on, None where that is unknown.

    digests: of each record's signal, which find a record again whose name or folder changed. sources: of each record,
    the name of its data set or folder. patients: of each record, as pretraining would name them; the table's groups may
    be spelt in another way, or be no patients. labelled: the encoder was trained on labels too.
    """
    people = [set(names) for names in zip(table.groups, patients or table.groups, strict=True)]
    tested: set[int] = set()
    met: set[int] = set()
    unknown = ""
    shared: dict[str, str] = {}
    for known, split in zip(seen, splits, strict=True):
        tested.update(split.test.tolist())
        if known is None:
            unknown = "nothing is known about its data"
            continue
        signals = known.saw_signals([digests[int(row)] for row in split.test]) if digests else []
        if signals is None:
            unknown = unknown or "its model folder knows records by name only, not by signal"
        met.update(_met(known, table, split.test, digests, set(signals or ()), people))
        shared |= _shared(known, table, split.test, digests, sources, people)
    return Exposure(None if unknown and not met else len(met), len(tested), unknown, shared, labelled)


def _shared(
    seen: Seen,
    table: LabelTable,
    tested: np.ndarray,
    digests: Sequence[str],
    sources: Sequence[str],
    people: Sequence[AbstractSet[str]],
) -> dict[str, str]:
    """Data sets of tested records that pretraining used as well, with its own name for the source.

    Not those of which it knows any record of this evaluation, of whatever part: then names or signals can be compared,
    and say of the tested records what there is to say.
    """
    used = {name: source for source in seen.sources for name in data_sets(source)}
    if not used or not sources:
        return {}
    members = [data_sets(source) for source in sources]
    of_test = {name for row in tested.tolist() for name in members[row]} & used.keys()
    rows = [row for row in range(len(table)) if members[row] & of_test]
    signals = seen.saw_signals([digests[row] for row in rows]) if digests else []
    met = _met(seen, table, np.array(rows, int), digests, set(signals or ()), people)
    known = {name for row in met for name in members[row]}
    return {name: used[name] for name in of_test - known}


def _met(
    seen: Seen,
    table: LabelTable,
    rows: np.ndarray,
    digests: Sequence[str],
    signals: AbstractSet[str],
    people: Sequence[AbstractSet[str]],
) -> list[int]:
    ids = set(seen.saw_ids(table.ids[row] for row in rows))
    groups = set(seen.saw_groups({name for row in rows for name in people[row]}))
    return [
        row
        for row in rows.tolist()
        if table.ids[row] in ids or people[row] & groups or (signals and digests[row] in signals)
    ]
