"""Folders of images: a folder a class, in folders of training, validation and test where they are there."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from anyjepa.data.class_folders import class_files
from anyjepa.data.images.image_files import SUFFIXES, ImageFiles, read_image
from anyjepa.data.images.image_set import ImageSet, Labels
from anyjepa.data.listing import list_folder, set_name
from anyjepa.errors import InputError, one_line


def read_folder(root: Path, on_error: Literal["raise", "skip"] = "raise", remarks: list[str] | None = None) -> ImageSet:
    """The images under `root`; ids are their paths in it. The class is the first folder, below that of the split.

    on_error 'skip': a file that cannot be read is left out and named, for which each is decoded once; 'raise' reads
    only headers now, so truncation raises InputError when decoding. remarks: see `class_files`. Raises InputError
    if there is no image.
    """
    files, skipped = [], {}
    for file in class_files(root, SUFFIXES, "image", remarks):
        try:
            read_image(file.path, decode=on_error == "skip")
        except InputError as error:
            if on_error == "raise":
                raise
            skipped[one_line(file.id)] = str(error)
            continue
        files.append(file)
    if not files:
        raise InputError(f"{root}: has no readable image; the first error: {next(iter(skipped.values()))}")
    ids = tuple(file.id for file in files)
    classes = tuple(sorted({file.label for file in files if file.label is not None}))
    place = {name: number for number, name in enumerate(classes)}
    numbers = np.array([place[file.label] for file in files if file.label is not None], int)
    sizes = (file.path.stat().st_size for file in files)
    return ImageSet(
        name=set_name(root),
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
    return root.is_dir() and bool(list_folder(root, SUFFIXES).files)
