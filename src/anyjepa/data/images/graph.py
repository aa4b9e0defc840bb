"""The preprocessing of images and videos inside an exported graph: middle square, resizing, standardisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anyjepa.data.graph import GraphInput, Standardise, resizing
from anyjepa.data.images.preprocessing import ImagePreprocessing, PixelPreprocessing

LARGEST = 16384  # pixels of a side
FIXED = 2**22  # Pillow multiplies by whole numbers and divides by this, so sums are exact


def graph(preprocessing: ImagePreprocessing, patch: int, longest: int) -> GraphInput:
    """The preprocessing of images (B, H, W, C) uint8 of one size, with the colours of the model."""
    return pixel_graph(preprocessing, PreparePixels(preprocessing, preprocessing.centre, rounds=True), ())


def pixel_graph(preprocessing: PixelPreprocessing, prepare: nn.Module, before: tuple[int, ...]) -> GraphInput:
    """The preprocessing of images or videos; `before` are the fixed axes before the height."""
    shape = (2, *before, preprocessing.side + 7, preprocessing.side + 12, preprocessing.channels)
    example = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    first = 1 + len(before)
    axes = {first: ("height", 2, LARGEST), first + 1: ("width", 2, LARGEST)}
    words = ", ".join(["batch", *(["frames"] if before else []), "height", "width", "channels"])
    return GraphInput(prepare, example, axes, f"({words}) uint8", {})


class PreparePixels(nn.Module):
    """Convert pixels (B, ..., H, W, C) uint8 to inputs (B, C, ..., side, side).

    centre: share of the shorter side that is kept. rounds: resized pixels are whole numbers, as Pillow makes them;
    otherwise the square starts at a whole pixel, and pixels outside have no weight, as in a crop.
    """

    def __init__(self, preprocessing: PixelPreprocessing, centre: float, rounds: bool):
        super().__init__()
        self.side, self.centre, self.rounds = preprocessing.side, centre, rounds
        self.standardise = Standardise(preprocessing.mean, preprocessing.std, (-1,))

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (torch.arange(x.shape[axis], dtype=torch.float64) for axis in (-3, -2))
        height, width = rows[-1:] + 1, columns[-1:] + 1
        square = torch.minimum(height, width) * self.centre
        pixels = x.double().movedim(-1, 1)  # (B, C, ..., H, W)
        down, across = self.weights(rows, square, height), self.weights(columns, square, width)
        pixels = self.resized(pixels, down, across)
        return self.standardise((pixels / 255).float().movedim(1, -1)).movedim(-1, 1)

    def weights(self, places: Tensor, square: Tensor, length: Tensor) -> Tensor:
        start = (length - square) / 2
        if self.rounds:
            return (resizing(places, square, start, self.side, inside=False) * FIXED + 0.5).floor()
        return resizing(places, square, start.floor(), self.side, inside=True)

    def resized(self, pixels: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """Resize (..., H, W) to (..., side, side)."""
        if not self.rounds:
            return down @ pixels @ across.T
        return _whole(down @ _whole(pixels @ across.T))  # Pillow 13 resizes some upright pictures in the other order


def _whole(pixels: Tensor) -> Tensor:
    return ((pixels + FIXED / 2) / FIXED).floor()
