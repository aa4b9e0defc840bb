"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) as published: python or binary batches, in a folder or a .tar.gz."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anyjepa.data.files import opened, read_bytes
from anyjepa.data.images.image_set import ImageSet, Labels
from anyjepa.data.images.sets.cifar_pickle import unpickled
from anyjepa.errors import DataWarning, InputError
from anyjepa.limits import COLUMNS, check_size

PIXELS = 3 * 32 * 32
LONGEST_HEADER = 2**16  # bytes of a header in an archive


@dataclass(frozen=True)
class Layout:
    """One published form of a set."""

    name: str  # of the set
    folder: str  # in the archive
    archive: str
    md5: str  # of the archive, as the publisher names it
    train: tuple[str, ...]  # files
    test: tuple[str, ...]
    tasks: tuple[str, ...]  # label bytes of a binary record in this order
    keys: tuple[str, ...]  # of a python batch: their labels
    names: tuple[str, ...]  # files (binary) or keys of the file `meta` (python) with the classes' names
    meta: str = ""  # python only
    images: tuple[int, int] = (50_000, 10_000)  # in training and test

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, *self.test, *([self.meta] if self.meta else self.names))


_FIVE = tuple(f"data_batch_{i}" for i in range(1, 6))
LAYOUTS = (
    Layout(
        name="cifar10",
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        train=_FIVE,
        test=("test_batch",),
        tasks=("class",),
        keys=("labels",),
        names=("label_names",),
        meta="batches.meta",
    ),
    Layout(
        name="cifar10",
        folder="cifar-10-batches-bin",
        archive="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        train=tuple(f"{name}.bin" for name in _FIVE),
        test=("test_batch.bin",),
        tasks=("class",),
        keys=(),
        names=("batches.meta.txt",),
    ),
    Layout(
        name="cifar100",
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        train=("train",),
        test=("test",),
        tasks=("superclass", "class"),
        keys=("coarse_labels", "fine_labels"),
        names=("coarse_label_names", "fine_label_names"),
        meta="meta",
    ),
    Layout(
        name="cifar100",
        folder="cifar-100-binary",
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        train=("train.bin",),
        test=("test.bin",),
        tasks=("superclass", "class"),
        keys=(),
        names=("coarse_label_names.txt", "fine_label_names.txt"),
    ),
)


class Batch(NamedTuple):
    labels: tuple[np.ndarray, ...]  # (n,) for each task
    pixels: np.ndarray  # (n, 3072) uint8: red, green and blue planes


def recognise(path: Path) -> tuple[Layout, Path] | None:
    """The layout of a folder that holds it or is it, or of a .tar.gz; None if it is none of CIFAR's."""
    if path.is_dir():
        places = [(layout, place) for layout in LAYOUTS for place in (path, path / layout.folder)]
        return next(((layout, place) for layout, place in places if (place / layout.train[0]).is_file()), None)
    if path.name.endswith((".tar.gz", ".tgz")):
        names = {name for name, _ in _members(path)}
        return next(((layout, path) for layout in LAYOUTS if layout.train[0] in names), None)
    return None


def read_cifar(layout: Layout, place: Path) -> ImageSet:
    """All images in the published order; ids 'train/00000' on count within each part. InputError names the file."""
    files = _from_folder(layout, place) if place.is_dir() else _from_archive(layout, place)
    classes = _class_names(layout, files, place)
    parts: list[tuple[str, Batch]] = []
    for split, names, published in zip(("train", "test"), (layout.train, layout.test), layout.images, strict=True):
        batches = [_batch(layout, files[name], place / name) for name in names]
        images = sum(len(batch.pixels) for batch in batches)
        if images != published:
            _warn(f"{place}: {images} images in its {split} part; {layout.name} has {published}")
        parts += [(split, batch) for batch in batches]
    for (_, batch), name in zip(parts, (*layout.train, *layout.test), strict=True):
        for numbers, names in zip(batch.labels, classes, strict=True):
            if numbers.size and numbers.max() >= len(names):
                raise InputError(f"{place / name}: label {numbers.max()} in a set of {len(names)} classes")
    pixels = np.concatenate([batch.pixels for _, batch in parts])
    split = tuple(split for split, batch in parts for _ in range(len(batch.pixels)))
    counts = {name: iter(range(len(split))) for name in ("train", "test")}
    return ImageSet(
        name=layout.name,
        ids=tuple(f"{part}/{next(counts[part]):05d}" for part in split),
        images=np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)),
        split=split,
        labels={
            task: Labels(names, np.concatenate([batch.labels[k] for _, batch in parts]))
            for k, (task, names) in enumerate(zip(layout.tasks, classes, strict=True))
        },
    )


def _from_folder(layout: Layout, folder: Path) -> dict[str, bytes]:
    return {name: read_bytes(folder / name, limit=None) for name in layout.files}


def _from_archive(layout: Layout, path: Path) -> dict[str, bytes]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    if digest != layout.md5:
        _warn(f"{path}: is not the published {layout.archive}: its MD5 is {digest}, not {layout.md5}")
    files = {}
    for name, content in _members(path, layout.files):
        if name in layout.files:
            if name in files:
                raise InputError(f"{path}: contains {name} twice")
            files[name] = content
    for name in layout.files:
        if name not in files:
            raise InputError(f"{path}: holds no {name}, which {layout.name} needs")
    return files


def _members(path: Path, wanted: Sequence[str] = ()) -> Iterator[tuple[str, bytes]]:
    """Names (without folders) of the regular files in an archive, with the content of the requested ones."""
    count = 0
    try:
        with opened(path) as zipped, gzip.open(zipped) as file:
            stream = _Unzipped(file, path, os.fstat(zipped.fileno()).st_size)
            with tarfile.open(fileobj=stream, mode="r:") as archive:  # type: ignore[call-overload]
                while member := archive.next():
                    archive.members.clear()  # a million members would take a gigabyte
                    COLUMNS.check(count := count + 1, f"{path}")
                    if member.isreg() and not member.issparse():
                        name = Path(member.name).name
                        yield name, stream.content(member) if name in wanted else b""
    except InputError:
        raise
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as a .tar.gz archive ({error}); get it again") from None


class _Unzipped:
    """A gzip stream for `tarfile` that stops at the limits."""

    def __init__(self, file: gzip.GzipFile, path: Path, size: int):
        self.file, self.path, self.size, self.tell = file, path, size, file.tell

    def read(self, count: int) -> bytes:
        """Read a header, whose declared size may exceed the memory."""
        if count > LONGEST_HEADER:
            raise InputError(f"{self.path}: has a header of {count} bytes; get it again")
        return self.file.read(count)

    def seek(self, place: int) -> int:
        check_size(place, self.size, f"{self.path}: its content")
        return self.file.seek(place)

    def content(self, member: tarfile.TarInfo) -> bytes:
        check_size(member.offset_data + member.size, self.size, f"{self.path}: {member.name}")
        self.file.seek(member.offset_data)
        content = self.file.read(member.size)
        if len(content) < member.size:
            raise EOFError(f"it ends within {member.name}")
        return content


def _batch(layout: Layout, content: bytes, where: Path) -> Batch:
    batch = _python_batch(layout, content, where) if layout.meta else _binary_batch(layout, content, where)
    if not len(batch.pixels):
        raise InputError(f"{where}: holds no image")
    return batch


def _binary_batch(layout: Layout, content: bytes, where: Path) -> Batch:
    record = len(layout.tasks) + PIXELS
    if len(content) % record:
        raise InputError(
            f"{where}: has {len(content)} bytes, no multiple of the {record} of one image; it is truncated"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    labels = records[:, : len(layout.tasks)].astype(int)
    return Batch(tuple(labels.T), records[:, len(layout.tasks) :])


def _python_batch(layout: Layout, content: bytes, where: Path) -> Batch:
    table = unpickled(content, where)
    pixels = _need(table, "data", where)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != PIXELS:
        raise InputError(f"{where}: 'data' must be bytes of shape (images, {PIXELS})")
    labels = [_need(table, key, where) for key in layout.keys]
    for key, column in zip(layout.keys, labels, strict=True):
        fine = isinstance(column, list) and all(type(x) is int and 0 <= x < 256 for x in column)
        if not fine or len(column) != len(pixels):
            raise InputError(f"{where}: '{key}' must be a list of {len(pixels)} class numbers")
    return Batch(tuple(np.array(column, int) for column in labels), pixels)


def _class_names(layout: Layout, files: Mapping[str, bytes], place: Path) -> list[tuple[str, ...]]:
    """Names of the classes, for each task."""
    if not layout.meta:
        lists = [files[name].decode("utf-8", "replace").split() for name in layout.names]
    else:
        table = unpickled(files[layout.meta], place / layout.meta)
        lists = [_need(table, key, place / layout.meta) for key in layout.names]
    if not all(isinstance(x, list) and x and all(isinstance(n, (str, bytes)) for n in x) for x in lists):
        raise InputError(f"{place}: the names of its classes must be a list of words")
    named = [tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in names) for names in lists]
    for names in named:
        if twice := next((name for row, name in enumerate(names) if name in names[:row]), None):
            raise InputError(f"{place}: two of its classes are called '{twice}'")
    return named


def _need(table: Mapping[Any, Any], key: str, where: Path) -> Any:
    for name in (key.encode(), key):
        if name in table:
            return table[name]
    raise InputError(f"{where}: has no '{key}'; is it a file of CIFAR?")


def _warn(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=4)
