"""Labels for every place of a record, such as the wave at each sample or the object at each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyjepa.errors import InputError

UNLABELLED = -1


@dataclass(frozen=True)
class PlaceLabels:
    """A class for each sample of N prepared records.

    ids: ids of the records. classes: names of the classes. labels: N arrays (*samples) of integers, each the index of a
    class in `classes`, or -1 if unknown. events: classes that have an onset and an offset in time. split: 'train',
    'validation' or 'test' for each record, if the source fixes it.
    Raises InputError if the number of arrays differs from the number of ids, or if a label is not the index of a class.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    labels: Sequence[np.ndarray]
    events: tuple[str, ...] = ()
    split: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.labels):
            raise InputError(f"labels per place: {len(self.labels)} arrays for {len(self.ids)} records")
        for id, labels in zip(self.ids, self.labels, strict=True):
            if labels.size and not UNLABELLED <= labels.min() <= labels.max() < len(self.classes):
                raise InputError(
                    f"labels per place: record '{id}' has labels {labels.min()} to {labels.max()}; "
                    f"they must be {UNLABELLED} or 0 to {len(self.classes) - 1}"
                )
