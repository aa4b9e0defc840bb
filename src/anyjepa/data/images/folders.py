"""Folders of images: a folder a class, in folders of training, validation and test where they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from anyjepa.data.images.image_files import SUFFIXES, ImageFiles, read_image
from anyjepa.data.images.image_set import ImageSet, Labels
from anyjepa.errors import InputError

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


class _File(NamedTuple):
    path: Path
    part: str | None
    label: str | None


def read_folder(root: Path, on_error: Literal["raise", "skip"] = "raise") -> ImageSet:
    """The images under `root`; ids are their paths in it. The class is the first folder, below that of the split.

    on_error 'skip': a file that cannot be read is left out and named, for which each is decoded once; 'raise' reads
    only headers now, and what is truncated is an InputError when it is decoded. InputError if there is no image.
    """
    files, skipped = [], {}
    for file in _files(root):
        try:
            read_image(file.path, decode=on_error == "skip")
        except InputError as error:
            if on_error == "raise":
                raise
            skipped[_id(file.path, root)] = str(error)
            continue
        files.append(file)
    if not files:
        reason = f"; the first: {next(iter(skipped.values()))}" if skipped else f" ending in {', '.join(SUFFIXES)}"
        raise InputError(f"{root}: holds no image that can be read{reason}")
    ids = tuple(_id(file.path, root) for file in files)
    classes = tuple(sorted({file.label for file in files if file.label is not None}))
    if bare := next((file for file in files if file.label is None), None) if classes else None:
        raise InputError(f"{bare.path}: lies beside folders of classes ({', '.join(classes[:3])} ...), in none of them")
    place = {name: number for number, name in enumerate(classes)}
    numbers = np.array([place[file.label] for file in files if file.label is not None], int)
    sizes = (file.path.stat().st_size for file in files)
    return ImageSet(
        name=root.resolve().name,
        ids=ids,
        images=ImageFiles(
            tuple(file.path for file in files),
            tuple(f"{name} {size}" for name, size in zip(ids, sizes, strict=True)),
        ),
        split=tuple(file.part or "train" for file in files) if any(file.part for file in files) else None,
        labels={"class": Labels(classes, numbers)} if len(classes) > 1 else {},
        skipped=skipped,
    )


def recognise(root: Path) -> bool:
    """Whether there is an image file under a folder."""
    return root.is_dir() and next(_below(root), None) is not None


def _files(root: Path) -> Iterator[_File]:
    folders = [path for path in _inside(root) if path.is_dir()]
    parts = [path for path in folders if path.name.lower() in PARTS]
    if not any(PARTS[path.name.lower()] == "train" for path in parts):
        yield from _of_classes(root, None)
        return
    if other := next((path for path in folders if path not in parts), None):
        raise InputError(f"{root}: holds '{other.name}' beside 'train'; a split has only {', '.join(PARTS)}")
    for path in sorted(parts, key=lambda path: list(PARTS).index(path.name.lower())):
        yield from _of_classes(path, PARTS[path.name.lower()])


def _of_classes(folder: Path, part: str | None) -> Iterator[_File]:
    """The image files of a folder: those directly in it have no class."""
    for path in _inside(folder):
        if path.is_dir():
            yield from (_File(file, part, path.name) for file in _below(path))
        elif path.suffix.lower() in SUFFIXES:
            yield _File(path, part, None)


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield Path(place, name)


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        _unreadable(error)
        raise


def _unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error


def _id(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
