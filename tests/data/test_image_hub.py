"""Sets of the Hugging Face hub, by a stand-in for the package `datasets`, which is no dependency."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image as Pictures

from anyjepa.data.images.reading import read_images
from anyjepa.data.images.source import ImageDataConfig, training_data
from anyjepa.errors import DataWarning, InputError


class Image(NamedTuple):
    pass


class ClassLabel(NamedTuple):
    names: list[str]


class Table:
    """What is used of datasets.Dataset."""

    features = {"img": Image(), "label": ClassLabel(["cat", "dog"]), "hidden": ClassLabel(["a", "b"])}  # noqa: RUF012
    _fingerprint = "f00d"

    def __init__(self, rows):
        self.rows = list(rows)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        return [row[key] for row in self.rows] if isinstance(key, str) else self.rows[key]

    def select(self, index):
        return Table(self.rows[i] for i in index)


@pytest.fixture
def hub(monkeypatch):
    def table(numbers):
        return Table(
            {"img": Pictures.new("RGB", (8, 8), (n, 0, 255 - n)), "label": n % 2, "hidden": -1} for n in numbers
        )

    def load_dataset(name):
        if name != "owner/pets":
            raise FileNotFoundError(f"no {name} on the hub")
        return {"train": table(range(5)), "test": table([7, 8]), "unsupervised": table([9])}

    module = ModuleType("datasets")
    module.__dict__.update(
        Image=Image,
        ClassLabel=ClassLabel,
        load_dataset=load_dataset,
        concatenate_datasets=lambda tables: Table(row for table in tables for row in table.rows),
    )
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_a_set_by_name(hub):
    with pytest.warns(DataWarning, match="hf:owner/pets: parts are not read: unsupervised"):
        found = read_images("hf:owner/pets")
    assert found.split == ("train",) * 5 + ("test",) * 2
    assert found.ids[-1] == "test/00001"
    assert list(found.labels) == ["class"]  # the other has no published labels
    assert found.labels["class"].numbers.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert found.images[5].tolist()[0][0] == [7, 0, 248]
    with pytest.warns(DataWarning, match="unsupervised"):
        data = training_data(ImageDataConfig(side=8, mean=(0,) * 3, std=(1 / 255,) * 3), ["hf:owner/pets"])  # type: ignore[list-item]
    assert len(data) == 5
    assert np.allclose(data[4][:, 0, 0], [4, 0, 251], atol=1e-3)


def test_what_is_not_there_is_said_in_one_line(hub, monkeypatch):
    with pytest.raises(InputError, match=r"hf:owner/cars: cannot be loaded \(FileNotFoundError"):
        read_images("hf:owner/cars")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="hf:owner/pets: needs the package `datasets`; install it"):
        read_images("hf:owner/pets")
