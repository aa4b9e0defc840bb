"""Read image sets: published ones, folders of images with a folder per class, and sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from anyjepa.data.class_folders import ClassFile, class_files, readable, split_of
from anyjepa.data.images.image_files import SUFFIXES, ImageFiles, read_image
from anyjepa.data.images.image_set import ImageSet, Labels
from anyjepa.data.images.sets import cifar, mnist
from anyjepa.data.images.sets.hub import PREFIX, read_hub
from anyjepa.data.listing import list_folder, set_name
from anyjepa.data.mounts import exists, is_folder, version
from anyjepa.data.readers import endings_of
from anyjepa.errors import InputError


def read_images(
    path: Path | str, on_error: Literal["raise", "skip"] = "raise", remarks: list[str] | None = None
) -> ImageSet:
    """Read CIFAR or MNIST as published, a folder of image files, or a set 'hf:owner/name' of the Hugging Face hub.

    on_error: what to do with a file that cannot be read. remarks: a list that collects remarks about a folder; if
    None, these are DataWarnings. Raises InputError for anything else.
    """
    if str(path).startswith(PREFIX):
        return read_hub(str(path)[len(PREFIX) :])
    path = Path(path)
    if not exists(path):
        raise InputError(f"{path}: there is no such file or folder")
    if images := cifar.read_cifar(path):
        return images
    if is_folder(path):
        return mnist.read_mnist(path) if mnist.recognise(path) else read_folder(path, on_error, remarks)
    if not path.name.lower().endswith(endings_of("images", SUFFIXES)):
        raise InputError(
            f"{path}: is not a set of images; pass a folder, an image, a CIFAR archive (.tar.gz) or hf:OWNER/NAME"
        )
    return _read_files(path.parent, [ClassFile(path, path.name)], on_error)


def read_folder(root: Path, on_error: Literal["raise", "skip"] = "raise", remarks: list[str] | None = None) -> ImageSet:
    """Read the images under `root`; ids are relative paths. The class is the first folder below that of the split.

    on_error 'skip': each file is decoded once and skipped if that fails; 'raise': only headers are read now, so
    truncation raises InputError when decoding. remarks: see `class_files`. Raises InputError if there is no image.
    """
    return _read_files(root, class_files(root, endings_of("images", SUFFIXES), "image", remarks), on_error)


def _read_files(root: Path, listed: Sequence[ClassFile], on_error: Literal["raise", "skip"]) -> ImageSet:
    files, skipped = readable(root, listed, partial(read_image, decode=on_error == "skip"), on_error, "image")
    ids = tuple(file.id for file in files)
    classes = tuple(sorted({file.label for file in files if file.label is not None}))
    place = {name: number for number, name in enumerate(classes)}
    numbers = np.array([place[file.label] for file in files if file.label is not None], int)
    checksums = tuple(f"{file.id} {version(file.path)}" for file in files)
    return ImageSet(
        name=set_name(root),
        ids=ids,
        images=ImageFiles(tuple(file.path for file in files), checksums),
        split=split_of(files),
        labels={"class": Labels(classes, numbers)} if len(classes) > 1 else {},
        skipped=skipped,
    )


def recognise(path: Path | str) -> bool:
    """Whether a path contains images, according to names only."""
    if str(path).startswith(PREFIX):
        return True
    path = Path(path)
    return cifar.recognise(path) or mnist.recognise(path) or _has_images(path)


def _has_images(folder: Path) -> bool:
    return folder.is_dir() and bool(list_folder(folder, endings_of("images", SUFFIXES)).files)
