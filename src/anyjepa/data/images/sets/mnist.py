"""IDX, the format of MNIST (LeCun, Cortes & Burges 1998): any array, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from anyjepa.data.files import opened, regular_size
from anyjepa.data.images.image_set import ImageSet, Labels
from anyjepa.data.listing import set_name
from anyjepa.errors import InputError
from anyjepa.limits import check_size

MOST_AXES = 32
_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_PARTS = {"train": ("train",), "test": ("t10k", "test")}  # split: prefixes of its files
_ENDINGS = ("-idx{}-ubyte", ".idx{}-ubyte")


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file, in native byte order. Raises InputError for anything else."""
    try:
        with opened(path) as file:
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _array(gzip.open(file) if zipped else file, path, regular_size(path))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as an IDX file ({error})") from None


def _array(file: gzip.GzipFile | BinaryIO, path: Path, size: int) -> np.ndarray:
    zeros, code, axes = struct.unpack(">HBB", file.read(4).ljust(4, b"\xff"))
    if zeros or code not in _TYPES or not 1 <= axes <= MOST_AXES:
        raise InputError(
            f"{path}: is not an IDX file; it must begin with two zero bytes, a type, and 1 to {MOST_AXES} axes"
        )
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise InputError(f"{path}: is truncated, in its header")
    shape, kind = struct.unpack(f">{axes}I", sizes), np.dtype(_TYPES[code])
    expected = math.prod(shape) * kind.itemsize
    check_size(expected, size, f"{path}: an array of shape {shape}")
    content = file.read(expected + 1)
    if len(content) != expected:
        size_there = "more" if len(content) > expected else len(content)
        raise InputError(f"{path}: an array of shape {shape} takes {expected} bytes, but the file has {size_there}")
    return np.frombuffer(content, kind).reshape(shape).astype(kind.newbyteorder("="))


def recognise(folder: Path) -> bool:
    """Whether a folder contains images in MNIST's layout."""
    return folder.is_dir() and any(_file(folder, part, "images", 3) for part in _PARTS)


def read_mnist(folder: Path) -> ImageSet:
    """Images in MNIST's layout (also Fashion-MNIST), training part first. A part without images is skipped.

    Raises InputError, which names the file.
    """
    pixels, numbers, split, ids = [], [], [], []
    for part in _PARTS:
        if not (path := _file(folder, part, "images", 3)):
            continue
        if not (labels := _file(folder, part, "labels", 1)):
            raise InputError(f"{path}: its labels are not next to it ({_PARTS[part][0]}-labels-idx1-ubyte)")
        images, classes = read_idx(path), read_idx(labels)
        if images.ndim != 3 or images.dtype != np.uint8 or not images.size:
            raise InputError(
                f"{path}: contains {images.dtype} of shape {images.shape}; images are bytes with three axes"
            )
        if classes.shape != images.shape[:1] or classes.dtype != np.uint8:
            raise InputError(f"{labels}: contains {classes.dtype} of shape {classes.shape} for {len(images)} images")
        if pixels and pixels[0].shape[1:] != images.shape[1:]:
            raise InputError(
                f"{path}: its images are {images.shape[1:]}, those of the other part {pixels[0].shape[1:]}"
            )
        pixels.append(images)
        numbers.append(classes.astype(int))
        split += [part] * len(images)
        ids += [f"{part}/{row:05d}" for row in range(len(images))]
    labelled = np.concatenate(numbers)
    return ImageSet(
        name=set_name(folder),
        ids=tuple(ids),
        images=np.concatenate(pixels)[..., None],
        split=tuple(split),
        labels={"class": Labels(tuple(map(str, range(labelled.max() + 1))), labelled)},
    )


def _file(folder: Path, part: str, what: str, axes: int) -> Path | None:
    names = [
        f"{start}-{what}{ending.format(axes)}{zipped}"
        for start in _PARTS[part]
        for ending in _ENDINGS
        for zipped in ("", ".gz")
    ]
    return next((folder / name for name in names if (folder / name).exists()), None)
