"""Which kind of image set a path holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from anyjepa.data.images import folders
from anyjepa.data.images.image_set import ImageSet
from anyjepa.data.images.sets import cifar, mnist
from anyjepa.data.images.sets.hub import PREFIX, read_hub
from anyjepa.errors import InputError


def read_images(
    path: Path | str, on_error: Literal["raise", "skip"] = "raise", remarks: list[str] | None = None
) -> ImageSet:
    """CIFAR and MNIST as published, else a folder of image files; 'hf:owner/name' is a set of the Hugging Face hub.

    on_error: what to do with a file that cannot be read. remarks: a list that collects remarks about a folder; if
    None, these are DataWarnings. Raises InputError for anything else.
    """
    if str(path).startswith(PREFIX):
        return read_hub(str(path)[len(PREFIX) :])
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if found := cifar.recognise(path):
        return cifar.read_cifar(*found)
    if not path.is_dir():
        raise InputError(f"{path}: is not a set of images; pass a folder, a CIFAR archive (.tar.gz) or hf:OWNER/NAME")
    return mnist.read_mnist(path) if mnist.recognise(path) else folders.read_folder(path, on_error, remarks)


def recognise(path: Path | str) -> bool:
    """Whether a path holds images, as far as names tell."""
    if str(path).startswith(PREFIX):
        return True
    path = Path(path)
    return bool(cifar.recognise(path)) or mnist.recognise(path) or folders.recognise(path)
