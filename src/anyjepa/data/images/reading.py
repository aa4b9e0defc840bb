"""Which kind of image set a path holds."""

from __future__ import annotations

from pathlib import Path

from anyjepa.data.images import cifar, idx_files
from anyjepa.data.images.image_set import ImageSet
from anyjepa.errors import InputError


def read_images(path: Path) -> ImageSet:
    """CIFAR or MNIST as published. InputError in one line for anything else."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if found := cifar.recognise(path):
        return cifar.read_cifar(*found)
    if idx_files.recognise(path):
        return idx_files.read_mnist(path)
    raise InputError(f"{path}: holds no images; CIFAR-10 and CIFAR-100 (folder or .tar.gz) and MNIST are read")
