"""Read video sets from folders of files, or from an array file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from anyjepa.data.array_files import read_arrays
from anyjepa.data.class_folders import ClassFile, class_files, readable, split_of
from anyjepa.data.labels import LabelTable
from anyjepa.data.listing import set_name
from anyjepa.data.mounts import is_folder
from anyjepa.data.readers import endings_of, not_read, read_own, reader_of
from anyjepa.data.video.files import SUFFIXES, Decoding, Scan, VideoFiles, decode, scan
from anyjepa.data.video.preprocessing import checked
from anyjepa.data.video.video_set import VideoArrays, VideoSet
from anyjepa.errors import InputError


def read_files(path: Path, on_error: Literal["raise", "skip"], decoding: Decoding) -> VideoSet:
    """Read a video file, or a folder of them, with a folder per class, optionally below train, val and test folders.

    Ids are paths in the folder. Every file is scanned for its frames; with `decoding.when` 'ahead' it is also decoded
    into memory. on_error 'skip': broken and truncated files are skipped and listed. Raises InputError if none is left.
    """
    if is_folder(path):
        root, listed = path, class_files(path, endings_of("video", SUFFIXES), "video")
    else:
        if not path.name.lower().endswith(endings_of("video", SUFFIXES)) and path.suffix:
            raise InputError(not_read(path, SUFFIXES))
        root, listed = path.parent, [ClassFile(path, path.name)]
    own = any(reader_of("video", file.path, SUFFIXES) for file in listed)  # these cannot be decoded lazily
    ahead = decoding.when == "ahead" or own

    def read(path: Path) -> tuple[Scan | None, np.ndarray | None]:
        if (frames := read_own("video", path, SUFFIXES, checked)) is not None:
            return None, frames
        seen = scan(path)
        decoded = ahead or on_error == "skip"
        frames = decode(path, seen, np.arange(seen.frames), decoding) if decoded else None
        return seen, frames if ahead else None

    files, skipped = readable(path, listed, read, on_error, "video")
    ids = tuple(file.id for file in files)
    split = split_of(files)
    scans, arrays = zip(*files.values(), strict=True)
    return VideoSet(
        name=set_name(root),
        ids=ids,
        videos=VideoArrays(arrays) if ahead else VideoFiles(tuple(file.path for file in files), scans, decoding),
        split=split,
        tables=_classes(ids, [file.label for file in files], split),
        skipped=skipped,
    )


def _classes(ids: tuple[str, ...], labels: list[str | None], split: tuple[str, ...] | None) -> dict[str, LabelTable]:
    """Task 'class', if there are folders for two classes or more."""
    names = [label for label in labels if label is not None]
    return {"class": LabelTable.of_names(ids, names, ids, split)} if len(set(names)) > 1 else {}


def read_npz(path: Path) -> VideoSet:
    """Read one video per key: (T, H, W) or (T, H, W, 1 or 3) uint8. Raises InputError, also for pickled objects."""
    stored = read_arrays(path)
    if not stored:
        raise InputError(f"{path}: contains no video")
    videos = []
    for key, value in stored.items():
        try:
            videos.append(checked(value))
        except InputError as error:
            raise InputError(f"{path}: '{key}': {error}") from None
    return VideoSet(path.stem, tuple(stored), VideoArrays(videos))
