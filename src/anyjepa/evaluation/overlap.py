"""Did pretraining see the records that are tested?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from anyjepa.data.labels import LabelTable
from anyjepa.evaluation.splits import Split


class Seen(Protocol):
    """What an encoder was pretrained on; `weights.model.TrainingRecords` is one."""

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

    def saw_ids(self, ids: Iterable[str]) -> list[str]:
        return []

    def saw_groups(self, groups: Iterable[str]) -> list[str]:
        return []

    def saw_signals(self, digests: Iterable[str]) -> list[str]:
        return []


@dataclass(frozen=True)
class Exposure:
    """How many of the tested records pretraining saw, themselves or by another record of their group; None: unknown."""

    seen: int | None
    tested: int
    unknown: str = ""  # why

    @property
    def transductive(self) -> bool | None:
        return None if self.seen is None else self.seen > 0

    def __str__(self) -> str:
        if self.seen is None:
            return f"unknown whether pretraining saw test records: {self.unknown}"
        if self.seen:
            return (
                f"TRANSDUCTIVE: pretraining saw {self.seen} of {self.tested} test records or their groups, unlabelled"
            )
        return f"pretraining saw none of {self.tested} test records or their groups"


def exposure(
    seen: Iterable[Seen | None], splits: Iterable[Split], table: LabelTable, digests: Sequence[str] = ()
) -> Exposure:
    """`seen`: for each split what its encoder was pretrained on, None where that is unknown.

    digests: of each record's signal, which find a record again whose name or folder changed.
    """
    tested: set[int] = set()
    met: set[int] = set()
    unknown = ""
    for known, split in zip(seen, splits, strict=True):
        tested.update(split.test.tolist())
        if known is None:
            unknown = "nothing is known about its data"
            continue
        signals = known.saw_signals([digests[int(row)] for row in split.test]) if digests else []
        if signals is None:
            unknown = unknown or "its model folder knows records by name only, not by signal"
        met.update(_met(known, table, split.test, digests, set(signals or ())))
    return Exposure(None if unknown and not met else len(met), len(tested), unknown)


def _met(
    seen: Seen, table: LabelTable, rows: np.ndarray, digests: Sequence[str], signals: AbstractSet[str]
) -> list[int]:
    ids = set(seen.saw_ids(table.ids[row] for row in rows))
    groups = set(seen.saw_groups({table.groups[row] for row in rows}))
    return [
        row
        for row in rows.tolist()
        if table.ids[row] in ids or table.groups[row] in groups or (signals and digests[row] in signals)
    ]
