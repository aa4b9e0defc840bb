"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) as published: python or binary batches, in a folder or a .tar.gz."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from anyjepa.data.archives import TAR_GZ, TarGz
from anyjepa.data.files import read_bytes, regular_size
from anyjepa.data.images.image_set import ImageSet, Labels
from anyjepa.data.images.sets.cifar_pickle import as_array, unpickled
from anyjepa.data.mounts import inside, mounted
from anyjepa.errors import DataWarning, InputError
from anyjepa.limits import COLUMNS, MEMORY

PIXELS = 3 * 32 * 32

_FIVE = tuple(f"data_batch_{i}" for i in range(1, 6))
_TASKS = {  # of each set: task, key of its labels in a python batch, key or file of the class names
    "cifar10": {"class": ("labels", "label_names")},
    "cifar100": {
        "superclass": ("coarse_labels", "coarse_label_names"),
        "class": ("fine_labels", "fine_label_names"),
    },
}


@dataclass(frozen=True)
class Layout:
    """One published form of a set: python batches, which are pickles, or binary ones."""

    name: str
    folder: str  # in the archive
    md5: str  # of the archive, as published
    meta: str = ""  # pickle with the names of the classes; none: binary

    @property
    def archive(self) -> str:
        return f"cifar-{self.name.removeprefix('cifar')}-{'python' if self.meta else 'binary'}.tar.gz"

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Files of the training and the test part."""
        train, test = (_FIVE, ("test_batch",)) if self.name == "cifar10" else (("train",), ("test",))
        ending = "" if self.meta else ".bin"
        return {"train": tuple(name + ending for name in train), "test": tuple(name + ending for name in test)}

    @property
    def batches(self) -> tuple[str, ...]:
        return self.parts["train"] + self.parts["test"]

    @property
    def tasks(self) -> dict[str, tuple[str, str]]:
        return _TASKS[self.name]

    @property
    def names(self) -> tuple[str, ...]:
        """Files with the names of the classes."""
        if self.meta or self.name == "cifar10":
            return (self.meta or "batches.meta.txt",)
        return tuple(f"{names}.txt" for _, names in self.tasks.values())

    @property
    def files(self) -> tuple[str, ...]:
        return self.batches + self.names


LAYOUTS = (
    Layout("cifar10", "cifar-10-batches-py", "c58f30108f718f92721af3b95e74349a", meta="batches.meta"),
    Layout("cifar10", "cifar-10-batches-bin", "c32a1d4ab5d03f1284b67883e8d87530"),
    Layout("cifar100", "cifar-100-python", "eb9058c3a382ffc7106e4002c42a8d85", meta="meta"),
    Layout("cifar100", "cifar-100-binary", "03b5dce01913d631647c71ecec9e9cb8"),
)
IMAGES = {"train": 50_000, "test": 10_000}  # of each set


class Batch(NamedTuple):
    labels: tuple[np.ndarray, ...]  # (n,) for each task
    pixels: np.ndarray  # (n, 3072) uint8: red, green and blue planes


def recognise(path: Path) -> bool:
    """Whether a path is a folder that contains a layout or is one, or an archive with one in any folder."""
    with _like_a_folder(path):
        return _find(path) is not None


def read_cifar(path: Path) -> ImageSet | None:
    """All images in the published order, with ids such as 'train/00000'; None if `recognise` is False.

    Raises InputError, which names the file.
    """
    with _like_a_folder(path):
        if not (match := _find(path)):
            return None
        layout, place = match
        if inside(path):
            MEMORY.check(sum(regular_size(place / name) for name in layout.files), f"{path}: its content")
        if path.is_file() and (digest := md5_of(path)) != layout.md5:
            _warn(f"{path}: is not the published {layout.archive}: its MD5 is {digest}, not {layout.md5}")
        files = {name: read_bytes(place / name, limit=None) for name in layout.files}
    classes = _class_names(layout, files, place)
    batches: list[Batch] = []
    ids, split = [], []
    for part, names in layout.parts.items():
        read = [_batch(layout, files[name], place / name, classes) for name in names]
        count = sum(len(batch.pixels) for batch in read)
        if count != IMAGES[part]:
            _warn(f"{place}: {count} images in its {part} part; {layout.name} has {IMAGES[part]}")
        batches += read
        ids += [f"{part}/{row:05d}" for row in range(count)]
        split += [part] * count
    pixels = np.concatenate([batch.pixels for batch in batches])
    return ImageSet(
        name=layout.name,
        ids=tuple(ids),
        images=np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)),
        split=tuple(split),
        labels={
            task: Labels(names, np.concatenate([batch.labels[k] for batch in batches]))
            for k, (task, names) in enumerate(zip(layout.tasks, classes, strict=True))
        },
    )


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


@contextmanager
def _like_a_folder(path: Path) -> Iterator[None]:
    """Make a .tar.gz readable like a folder, unless it already is."""
    if not path.name.endswith(TAR_GZ) or not path.is_file() or inside(path):
        yield
        return
    with (
        TemporaryDirectory(prefix="anyjepa-") as folder,
        mounted({path: TarGz(path, path, lambda: Path(folder), most=COLUMNS)}),
    ):
        yield


def _find(path: Path) -> tuple[Layout, Path] | None:
    """The layout in a folder or an archive, and the folder of its files."""
    if not (root := inside(path)):
        places = [(layout, place) for layout in LAYOUTS for place in (path, path / layout.folder)]
        return next(((layout, place) for layout, place in places if (place / layout.batches[0]).is_file()), None)
    names, published = root.container.names, path.name.endswith(TAR_GZ)  # which then says what is missing
    files = [
        (layout, name)
        for layout in LAYOUTS
        for name in names
        if name.split("/")[-1] == layout.batches[0]
        and (published or all(name.removesuffix(layout.batches[0]) + batch in names for batch in layout.batches))
    ]
    if len(files) > 1:
        raise InputError(f"{path}: contains two sets, with '{files[0][1]}' and '{files[1][1]}'; unpack one of them")
    return next(((layout, (path / name).parent) for layout, name in files), None)


def _batch(layout: Layout, content: bytes, where: Path, classes: Sequence[tuple[str, ...]]) -> Batch:
    batch = _python_batch(layout, content, where) if layout.meta else _binary_batch(layout, content, where)
    if not len(batch.pixels):
        raise InputError(f"{where}: contains no image")
    for numbers, names in zip(batch.labels, classes, strict=True):
        if numbers.max() >= len(names):
            raise InputError(f"{where}: label {numbers.max()} in a set of {len(names)} classes")
    return batch


def _binary_batch(layout: Layout, content: bytes, where: Path) -> Batch:
    record = len(layout.tasks) + PIXELS
    if len(content) % record:
        raise InputError(
            f"{where}: has {len(content)} bytes, not a multiple of the {record} of one image; it is truncated"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    labels = records[:, : len(layout.tasks)].astype(int)
    return Batch(tuple(labels.T), records[:, len(layout.tasks) :])


def _python_batch(layout: Layout, content: bytes, where: Path) -> Batch:
    table = unpickled(content, where)
    try:
        pixels = as_array(_need(table, "data", where)).reshape(-1, PIXELS)
    except InputError:
        raise
    except Exception:
        raise InputError(f"{where}: 'data' must be bytes of shape (images, {PIXELS})") from None
    columns = {key: _need(table, key, where) for key, _ in layout.tasks.values()}
    for key, column in columns.items():
        numbers = isinstance(column, list) and all(type(x) is int and 0 <= x < 256 for x in column)
        if not numbers or len(column) != len(pixels):
            raise InputError(f"{where}: '{key}' must be a list of {len(pixels)} class numbers")
    return Batch(tuple(np.array(column, int) for column in columns.values()), pixels)


def _class_names(layout: Layout, files: Mapping[str, bytes], place: Path) -> list[tuple[str, ...]]:
    """Names of the classes for each task."""
    if layout.meta:
        table, where = unpickled(files[layout.meta], place / layout.meta), place / layout.meta
        lists = [_need(table, key, where) for _, key in layout.tasks.values()]
    else:
        lists = [files[name].decode("utf-8", "replace").split() for name in layout.names]
    named = []
    for names in lists:
        if not (isinstance(names, list) and names and all(isinstance(name, (str, bytes)) for name in names)):
            raise InputError(f"{place}: the names of its classes must be a list of words")
        words = tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names)
        if repeated := [word for word, count in Counter(words).items() if count > 1]:
            raise InputError(f"{place}: two of its classes are called '{repeated[0]}'")
        named.append(words)
    return named


def _need(table: Mapping[str, Any], key: str, where: Path) -> Any:
    if key not in table:
        raise InputError(f"{where}: has no '{key}'; is it a file of CIFAR?")
    return table[key]


def _warn(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=4)
