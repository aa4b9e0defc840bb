"""Convert decoded frames to what players show: upright, with square pixels, transparent parts over white."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from anyjepa.data.images.preprocessing import Colours

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

WIDEST = 10  # largest aspect ratio of a pixel (or its inverse); DVDs and television stay below 2


class Decoding(NamedTuple):
    """How frames are decoded."""

    colours: Colours
    short_side: int  # pixels; larger frames are downscaled by area
    when: Literal["ahead", "lazily"]


class View(NamedTuple):
    """How players show the frames of one file."""

    stored: tuple[int, int]  # width and height of a frame, pixels
    scaled: tuple[int, int]  # width and height with square pixels, before the rotation
    rotation: int  # degrees; the same in all frames of a file
    matrix: np.ndarray | None  # (9,) how they are turned and mirrored
    colours: Colours

    @classmethod
    def of(cls, frame: VideoFrame, aspect: Fraction | None, decoding: Decoding) -> View:
        """Create from the first frame. aspect: width of a stored pixel divided by its height; None or 0 if unknown.

        Raises ValueError for an aspect above 10 or below 0.1.
        """
        aspect = aspect or Fraction(1)
        if not 1 / WIDEST <= aspect <= WIDEST:
            raise ValueError(f"its pixel aspect ratio of {aspect} is implausible")
        width, height = frame.width * float(aspect), frame.height
        scale = min(1.0, decoding.short_side / min(width, height))
        scaled = max(1, round(width * scale)), max(1, round(height * scale))
        matrix = frame.side_data.get("DISPLAYMATRIX")  # slow, so only for one frame
        turns = None if matrix is None else np.frombuffer(bytes(matrix), np.int32)
        return cls((frame.width, frame.height), scaled, frame.rotation, turns, decoding.colours)

    def pixels(self, frame: VideoFrame) -> np.ndarray:
        """Convert a frame to (H, W, C) uint8. Raises ValueError for a rotation that is not a multiple of 90 degrees."""
        if _may_be_transparent(frame.format.name):
            frame = _over_white(frame)
        kind = "gray" if self.colours == "grey" else "rgb24"
        pixels = frame.reformat(*self.scaled, format=kind, interpolation="AREA").to_ndarray()
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        return pixels if self.matrix is None else upright(pixels, self.matrix)


@cache
def _may_be_transparent(pixel_format: str) -> bool:
    from av.video.format import VideoFormat

    video_format = VideoFormat(pixel_format)
    return video_format.has_palette or any(part.is_alpha for part in video_format.components)


def upright(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Rotate and mirror (H, W, C) by a display matrix (9,): x' = m0 x + m3 y, y' = m1 x + m4 y.

    Raises ValueError for a rotation that is not a multiple of 90 degrees.
    """
    straight, across = (matrix[0], matrix[4]), (matrix[3], matrix[1])
    turned = abs(across[0]) > abs(straight[0])
    (right, down), rest = (across, straight) if turned else (straight, across)
    if 1000 * max(map(abs, map(int, rest))) > min(abs(int(right)), abs(int(down))):
        raise ValueError("its display matrix rotates by an angle that is not a multiple of 90 degrees")
    if turned:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[:: 1 if down > 0 else -1, :: 1 if right > 0 else -1])


def _over_white(frame: VideoFrame) -> VideoFrame:
    rgba = frame.reformat(format="rgba").to_ndarray().astype(np.uint16)
    colours, alpha = rgba[..., :3], rgba[..., 3:]
    shown = (colours * alpha + 255 * (255 - alpha) + 127) // 255
    return type(frame).from_ndarray(shown.astype(np.uint8), format="rgb24")
