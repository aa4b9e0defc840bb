"""Folders of files: a folder a class, in folders of training, validation and test where they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anyjepa.errors import InputError

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


class ClassFile(NamedTuple):
    """A file, the part of the split and the class that its folders say; None where they say nothing."""

    path: Path
    id: str  # its path in the set
    part: str | None = None
    label: str | None = None


def class_files(root: Path, suffixes: tuple[str, ...]) -> list[ClassFile]:
    """The files under `root` with these (lower-case) endings, by parts and names; hidden ones are not seen.

    The class is the first folder, below that of the split. InputError for a folder that cannot be read, for one beside
    those of a split, and for a file beside folders of classes.
    """
    folders = [path for path in _inside(root) if path.is_dir()]
    parts = [path for path in folders if path.name.lower() in PARTS]
    if not any(PARTS[path.name.lower()] == "train" for path in parts):
        return _checked(list(_of_classes(root, root, None, suffixes)))
    if other := next((path for path in folders if path not in parts), None):
        raise InputError(f"{root}: holds '{other.name}' beside 'train'; a split has only {', '.join(PARTS)}")
    parts.sort(key=lambda path: list(PARTS).index(path.name.lower()))
    found = (_of_classes(path, root, PARTS[path.name.lower()], suffixes) for path in parts)
    return _checked([file for part in found for file in part])


def _checked(files: list[ClassFile]) -> list[ClassFile]:
    named = next((file.label for file in files if file.label is not None), None)
    if bare := next((file for file in files if file.label is None), None) if named else None:
        raise InputError(f"{bare.path}: lies beside folders of classes ('{named}' ...), in none of them")
    return files


def _of_classes(folder: Path, root: Path, part: str | None, suffixes: tuple[str, ...]) -> Iterator[ClassFile]:
    """The files of a folder: those directly in it have no class."""
    for path in _inside(folder):
        if path.is_dir():
            for file in files_below(path, suffixes):
                yield ClassFile(file, file.relative_to(root).as_posix(), part, path.name)
        elif path.suffix.lower() in suffixes:
            yield ClassFile(path, path.relative_to(root).as_posix(), part)


def files_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """The files under `folder` with these (lower-case) endings, by names; hidden ones are not seen. InputError."""
    for place, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith(suffixes):
                yield Path(place, name)


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        _unreadable(error)
        raise


def _unreadable(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from error
