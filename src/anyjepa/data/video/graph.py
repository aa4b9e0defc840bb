"""The preprocessing of videos inside an exported graph."""

from __future__ import annotations

from torch import Tensor, nn

from anyjepa.data.graph import GraphInput
from anyjepa.data.images.graph import PreparePixels, pixel_graph
from anyjepa.data.video.preprocessing import VideoPreprocessing


def graph(preprocessing: VideoPreprocessing, patch: int, longest: int) -> GraphInput:
    """The preprocessing of clips (B, reach, H, W, C) uint8, with all video frames that a clip spans."""
    return pixel_graph(preprocessing, PrepareVideo(preprocessing), (preprocessing.reach,))


class PrepareVideo(nn.Module):
    """Convert clips (B, reach, H, W, C) uint8 to inputs (B, C, frames, side, side)."""

    def __init__(self, preprocessing: VideoPreprocessing):
        super().__init__()
        self.stride, self.pixels = preprocessing.stride, PreparePixels(preprocessing, 1.0, rounds=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pixels(x[:, :: self.stride])
