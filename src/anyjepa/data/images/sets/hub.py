"""Image sets of the Hugging Face hub by name, through the package `datasets`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from anyjepa.data.class_folders import NAMES, part_of
from anyjepa.data.images.image_files import as_pixels
from anyjepa.data.images.image_set import ImageSet, Labels
from anyjepa.data.listing import tell
from anyjepa.errors import InputError

PREFIX = "hf:"


@dataclass(frozen=True)
class HubImages:
    """A column of pictures as `Images`."""

    table: Any  # datasets.Dataset
    column: str

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> np.ndarray:
        return as_pixels(self.table[int(index)][self.column])

    def rows(self, index: np.ndarray) -> HubImages:
        return HubImages(self.table.select(index.tolist()), self.column)

    @property
    def checksums(self) -> tuple[str, ...]:
        return (str(self.table._fingerprint),)


def read_hub(name: str) -> ImageSet:
    """Read the set `owner/name`: its first image column, its class columns as tasks, and its published split.

    Parts with other names are skipped. Raises InputError if the package or the set is missing.
    """
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(f"{PREFIX}{name}: needs the package `datasets`; install it: pip install datasets") from None
    try:
        dataset = datasets.load_dataset(name)
    except Exception as error:  # no network, no such set, a set that wants to run code
        raise InputError(f"{PREFIX}{name}: cannot be loaded ({type(error).__name__}: {error})") from None
    parts = {part: dataset[part] for part in dataset if part_of(part)}
    if not parts:
        raise InputError(f"{PREFIX}{name}: has the parts {', '.join(dataset)}; one of {', '.join(NAMES)} is needed")
    if others := [part for part in dataset if part not in parts]:
        tell([f"{PREFIX}{name}: parts are not read: {', '.join(others)}"], None)
    table = datasets.concatenate_datasets(list(parts.values()))
    columns = [key for key, feature in table.features.items() if isinstance(feature, datasets.Image)]
    if not columns:
        raise InputError(f"{PREFIX}{name}: has no column of images; it has {', '.join(table.features)}")
    labels = {}
    for key, feature in table.features.items():
        if isinstance(feature, datasets.ClassLabel):
            numbers = np.array([-1 if number is None else number for number in table[key]], int)
            if numbers.min() >= 0 and len(feature.names) > 1:  # -1: an unpublished label
                labels["class" if key in ("label", "labels") else key] = Labels(tuple(feature.names), numbers)
    return ImageSet(
        name=name,
        ids=tuple(f"{part}/{row:05d}" for part, rows in parts.items() for row in range(len(rows))),
        images=HubImages(table, columns[0]),
        split=tuple(part_of(part) or "train" for part, rows in parts.items() for _ in range(len(rows))),
        labels=labels,
    )
