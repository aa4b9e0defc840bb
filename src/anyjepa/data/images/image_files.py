"""PNG, JPEG and WebP files, decoded on demand."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.files import Content, opened, regular_size
from anyjepa.data.images.preprocessing import checked
from anyjepa.data.readers import read_own, reader_of
from anyjepa.errors import InputError, reason
from anyjepa.limits import PIXELS

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MEDIA = ("image/png", "image/jpeg", "image/webp")


@dataclass(frozen=True)
class ImageFiles:
    """Image files as `Images`."""

    paths: tuple[Path, ...]
    checksums: tuple[str, ...]  # name and `version` of each file, because digests of many files would take too long

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_image(self.paths[index])

    def rows(self, index: Sequence[int] | np.ndarray) -> ImageFiles:
        return ImageFiles(tuple(self.paths[i] for i in index), tuple(self.checksums[i] for i in index))


def read_image(path: Path | Content, decode: bool = True) -> np.ndarray:
    """Read an image as (H, W, 1 or 3) uint8, converted by `as_pixels`. decode=False reads only the header.

    Raises InputError if the file is not an image, or is broken, too large or not a regular file.
    """
    from PIL import Image

    if isinstance(path, Path) and reader_of("images", path, SUFFIXES) is not None:
        own = read_own("images", path, SUFFIXES, checked) if decode else None
        return np.empty((0, 0, 3), np.uint8) if own is None else own
    try:
        with opened(path) as file, warnings.catch_warnings():  # Pillow warns about unusual metadata
            warnings.simplefilter("ignore")
            if not regular_size(path):
                raise InputError(f"{path}: is empty")
            with Image.open(file, formats=("PNG", "JPEG", "WEBP")) as picture:
                PIXELS.check(picture.width * picture.height, str(path))
                return as_pixels(picture) if decode else np.empty((0, 0, 3), np.uint8)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{path}: has more pixels than Pillow decodes; make it smaller or remove it") from None
    except Exception as error:  # a broken file can raise any error
        why = reason(error).partition(" <")[0]
        raise InputError(f"{path}: cannot be read as PNG, JPEG or WebP ({why})") from error


def as_pixels(picture: Image.Image) -> np.ndarray:
    """Convert a picture to (H, W, 1 or 3) uint8, rotated according to its EXIF data.

    Transparent parts become white, 16-bit grey loses its lower byte, palettes and other colour spaces become RGB, and
    an animation becomes its first frame. Raises ValueError for 32-bit and floating-point pixels, and for 12 bits in 16.
    """
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):
        pixels = np.asarray(picture).astype(np.uint16)
        if 0 < pixels.max(initial=0) < 2**12:  # 16 levels would be left
            raise ValueError("its 16-bit pixels are all below 4096, as those of 12-bit sensors; scale them to 8 bits")
        return (pixels >> 8).astype(np.uint8)[..., None]
    if picture.mode in ("I", "F"):
        raise ValueError("its pixels are 32-bit numbers; save it with 8 or 16 bits")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))[..., None]
    return np.asarray(picture.convert("RGB"))
