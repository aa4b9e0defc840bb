"""Which kind of image set a path holds."""

from __future__ import annotations

from pathlib import Path

from anyjepa.data.images import cifar
from anyjepa.data.images.image_set import ImageSet
from anyjepa.errors import InputError


def read_images(path: Path) -> ImageSet:
    """CIFAR as published. InputError in one line for anything else."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if found := cifar.recognise(path):
        return cifar.read_cifar(*found)
    raise InputError(f"{path}: holds no images; CIFAR-10 and CIFAR-100 (folder or .tar.gz) are read")
