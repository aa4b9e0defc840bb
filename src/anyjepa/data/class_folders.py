"""Folders of classes, optionally inside folders for training, validation and test."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, get_args

from anyjepa import progress
from anyjepa.data.listing import TABLES, Listing, counted, list_folder, tell
from anyjepa.errors import InputError, one_line

T = TypeVar("T")
Part = Literal["train", "validation", "test"]
NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
"""Names of folders of a split, in any letter case; 'set' may follow, as in 'test_set'."""

_WORD_BREAKS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\W\d_]+")


class ClassFile(NamedTuple):
    """A file, with the part of the split and the class from the names of its folders; None if these do not say."""

    path: Path
    id: str  # path of the file in the data set
    part: Part | None = None
    label: str | None = None


def class_files(root: Path, suffixes: Sequence[str], what: str, remarks: list[str] | None = None) -> list[ClassFile]:
    """List the files under `root` with these (lower-case) extensions, by part and path (see `list_folder`).

    The class is the first folder inside that of the split. what: the word for a file in messages. remarks: a list that
    collects what is not read or looks wrong; if None, DataWarnings are issued.

    Raises InputError for a folder that cannot be read or has no such file, for a file or folder next to those of a
    split, for a file next to class folders, and for a split in a subfolder.
    """
    listing = list_folder(root, suffixes, about=TABLES)
    if not listing.files:
        raise InputError(nothing_to_read(listing, what, suffixes))
    parts = split_folders(root, listing.files)
    depth = 0 if not parts else 2 if _are_doubled(root, listing.files) else 1  # of the folders of classes
    files = []
    for path in listing.files:
        names = path.parts[len(root.parts) :]
        part, classes = parts.get(names[0]), names[depth:-1]
        files.append(ClassFile(path, "/".join(names), part, classes[0] if classes else None))
    _refuse_without_class(root, files)
    files.sort(key=lambda file: get_args(Part).index(file.part or "train"))
    tell([*listing.remarks(), *_remarks(listing, files, depth + 1)], remarks)
    return files


def readable(
    root: Path, files: Sequence[ClassFile], read: Callable[[Path], T], on_error: Literal["raise", "skip"], what: str
) -> tuple[dict[ClassFile, T], dict[str, str]]:
    """Read each file; returns the contents, and the reason for each skipped file. Raises InputError if none is left."""
    contents, skipped = {}, {}
    for number, file in enumerate(files, 1):
        progress.tell(f"file {number:,} of {len(files):,}")
        try:
            contents[file] = read(file.path)
        except InputError as error:
            if on_error == "raise":
                raise
            skipped[one_line(file.id)] = str(error)
    if not contents:
        raise InputError(f"{root}: has no readable {what}; the first error: {next(iter(skipped.values()))}")
    return contents, skipped


def split_of(files: Iterable[ClassFile]) -> tuple[str, ...] | None:
    """The part of each file; None if no file is in a part."""
    parts = [file.part for file in files]
    return tuple(part or "train" for part in parts) if any(parts) else None


def split_folders(root: Path, files: Sequence[Path]) -> dict[str, Part | None]:
    """Map the names of folders in `root` to parts of the split; empty if there is no split.

    A training part alone is not a split, so its part is None. A part may be doubled, as in 'train/train/cat'.

    Raises InputError for two folders of the same part, for a file or folder next to those of a split, for a split in a
    subfolder, and for folders that look like parts, such as 'train_images' and 'test_images'.
    """
    _refuse_deeper(root, files)
    _refuse_look_alikes(root, files)
    names = sorted({path.parts[len(root.parts)] for path in files})
    parts = {name: part for name in names if (part := part_of(name))}
    for name in names if parts else ():
        if name not in parts:
            raise InputError(
                f"{root / name}: is next to '{next(iter(parts))}', which is a part of a split; move one of them, "
                "or put everything into a folder 'train'"
            )
    for part in get_args(Part):
        if len(same := [name for name in parts if parts[name] == part]) > 1:
            raise InputError(
                f"{root}: '{same[0]}' and '{same[1]}' are both the {part} part; rename or move one of them"
            )
    return dict.fromkeys(parts) if set(parts.values()) == {"train"} else dict(parts)


def part_of(name: str) -> Part | None:
    """The part of a split that the name of a folder, or a cell of a table, stands for; None for any other name."""
    return NAMES.get(re.sub("[-_ ]?set$", "", name.casefold()))


def nothing_to_read(listing: Listing, what: str, suffixes: Sequence[str]) -> str:
    """Error message for a folder without readable files."""
    there = f"; it holds {listing.endings}" if listing.others else ""
    return f"{listing.root}: has no {what}; files ending in {', '.join(suffixes)} are read{there}"


def _are_doubled(root: Path, files: Iterable[Path]) -> bool:
    """Whether every part is in a folder of the same name, as in 'train/train/cat' and 'test/test/cat'."""
    pairs = {(*path.parts[len(root.parts) : -1][:2], "", "")[:2] for path in files}
    parts = {outer for outer, _ in pairs}
    return len(parts) == len(pairs) and all(
        part_of(outer) and part_of(outer) == part_of(inner) for outer, inner in pairs
    )


def _inner_folders(root: Path, files: Iterable[Path]) -> dict[Path, set[str]]:
    """For each folder from `root` on, the names of its subfolders that contain files at any depth."""
    inner: dict[Path, set[str]] = {}
    for folder in {path.parent for path in files}:
        while folder not in (root, *root.parents):
            inner.setdefault(folder.parent, set()).add(folder.name)
            folder = folder.parent
    return inner


def _refuse_look_alikes(root: Path, files: Iterable[Path]) -> None:
    """Raise InputError for class folders that look like parts of a split, such as 'seg_train' and 'seg_test'."""
    for folder, names in sorted(_inner_folders(root, files).items()):
        alike = {name: part for name in sorted(names) if (part := _like_a_part(name))}
        exact = any(map(part_of, names))
        if not exact and "train" in alike.values() and len(set(alike.values())) > 1 and 2 * len(alike) >= len(names):
            first = next(name for name in alike if alike[name] == "train")
            other = next(name for name in alike if alike[name] != "train")
            raise InputError(
                f"{folder}: '{first}' and '{other}' look like parts of a split, which are called 'train', 'val' and "
                "'test'; rename them and pass this folder, or pass one of them"
            )


def _like_a_part(name: str) -> Part | None:
    """The part of a split that the first or last word of a name stands for, as in 'train2017' and 'seg_test'."""
    words = [word for word in _WORD_BREAKS.split(name) if word]
    return (part_of(words[0]) or part_of(words[-1])) if words else None


def _refuse_deeper(root: Path, files: Sequence[Path]) -> None:
    """Raise InputError for parts of a split in a subfolder, as in 'set/train/cat'."""
    inner = _inner_folders(root, files)
    inner.pop(root, None)
    if _are_doubled(root, files):
        inner = {folder: names for folder, names in inner.items() if folder.parent != root}
    for folder in sorted(inner):
        parts = {part_of(name) for name in inner[folder]}
        if None not in parts or len(parts) > 2:
            names = " and ".join(f"'{name}'" for name in sorted(inner[folder]) if part_of(name))
            raise InputError(f"{folder}: contains {names}, the parts of a split; pass this folder itself")


def _refuse_without_class(root: Path, files: Sequence[ClassFile]) -> None:
    """Raise InputError for files without a class if other files have one."""
    bare = next((file for file in files if file.label is None), None)
    named = next((file for file in files if file.label is not None), None)
    if bare and named:
        if bare.part != named.part and all(file.label is None for file in files if file.part == bare.part):
            raise InputError(
                f"{bare.path.parent}: has no class folders, but {root / named.id.split('/')[0]} has; "
                "pass one of them, or move one away"
            )
        raise InputError(
            f"{bare.path}: is next to class folders ('{named.label}' ...), not in one of them; "
            "move it into one of them, or elsewhere"
        )


def _remarks(listing: Listing, files: Sequence[ClassFile], depth: int) -> list[str]:
    """Remarks on empty folders, classes missing from a part, and folders below the only class or below every class.

    depth: number of folders from the root to a class folder.
    """
    lines, root = [], listing.root
    classes: dict[str, set[str]] = {}
    for file in files:
        if file.label is not None:
            classes.setdefault(file.part or "", set()).add(file.label)
    used = {above for folder in {file.path.parent for file in files} for above in (folder, *folder.parents)}
    if empty := [f for f in listing.folders if f not in used and 0 < len(f.relative_to(root).parts) <= depth]:
        lines.append(f"{counted(len(empty), 'folder has', 'folders have')} no file to read: {listing.shown(empty)}")
    every = set().union(*classes.values())
    lacking = [f"'{name}' ({part})" for part in classes for name in sorted(every - classes[part])]
    if lacking:
        more = ", ..." if len(lacking) > 5 else ""
        lines.append(f"classes are missing from parts of the split: {', '.join(lacking[:5])}{more}")
    folders = {"/".join(file.id.split("/")[depth - 1 : -1]) for file in files}
    shared = posixpath.commonpath(folders)
    below = sorted({folder[len(shared) + 1 :].split("/")[0] for folder in folders if folder != shared})
    if shared and len(below) > 1:
        shown = f"'{below[0]}' and '{below[1]}'" + (" ..." if len(below) > 2 else "")
        fix = f"pass {root / shared}" if depth == 1 else f"move them out of '{shared}'"
        lines.append(
            f"there is one class only, '{shared.split('/')[0]}'; if its folders {shown} are the classes, {fix}"
        )
    inside: dict[str | None, set[str]] = {}
    for file in files:
        inside.setdefault(file.label, set()).add("/".join(file.id.split("/")[depth:-1][:1]))
    first, *others = inside.values()
    if others and all(names == first for names in others) and len(first) > 1 and "" not in first:
        a, b, *more = sorted(first)
        shown = f"'{a}' and '{b}'" + (" ..." if more else "")
        lines.append(
            f"every class has the folders {shown}; if these are the classes, pass one of the folders above them"
        )
    return [f"{root}: {line}" for line in lines]
