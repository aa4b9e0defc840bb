"""Load the videos of a recipe, and prepare them for the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from anyjepa.data.images.augmentation import AugmentationConfig
from anyjepa.data.images.preprocessing import Colours, PixelDataConfig
from anyjepa.data.images.sets import mnist
from anyjepa.data.modality import each
from anyjepa.data.records import Records
from anyjepa.data.training_part import training_rows
from anyjepa.data.video.dataset import VideoDataset
from anyjepa.data.video.files import Decoding
from anyjepa.data.video.preprocessing import VideoPreprocessing, checked, fit_statistics
from anyjepa.data.video.reading import read_files, read_npz
from anyjepa.data.video.simulator import MovingDigitsConfig, MovingMnistConfig, moving_digits, moving_mnist
from anyjepa.data.video.video_set import VideoArrays, VideoSet
from anyjepa.errors import InputError


class VideoDataConfig(PixelDataConfig):
    """Videos for pretraining: files if a path is given, Moving-MNIST if it holds MNIST, else the embedded set."""

    embedded: ClassVar[str] = "moving_digits"  # the key of the embedded set, which has a seed

    kind: Literal["video"] = "video"
    moving_digits: MovingDigitsConfig = Field(
        default=MovingDigitsConfig(), description="the simulated data set, used without files"
    )
    moving_mnist: MovingMnistConfig = Field(
        default=MovingMnistConfig(), description="how clips are made from a folder of MNIST files"
    )
    frames: PositiveInt = Field(default=8, description="frames of a clip")
    stride: PositiveInt = Field(default=1, description="frames of the video from one frame of a clip to the next")
    colours: Colours = Field(default="grey", description="rgb: three channels (grey is repeated); grey: one channel")
    augmentation: AugmentationConfig = Field(
        default=AugmentationConfig(), description="of training clips: one crop and flip for all frames"
    )
    short: Literal["skip", "raise"] = Field(default="skip", description="what to do with a video shorter than a clip")
    decode: Literal["ahead", "lazily"] = Field(
        default="ahead",
        description="files: whole into memory, so that training never waits, or clips as they are drawn",
    )

    @model_validator(mode="after")
    def _as_filmed(self) -> Self:
        if self.augmentation.recolour is not None:
            raise ValueError("augmentation.recolour is for images; clips are only cropped and flipped")
        if self.augmentation.crop is not None and self.augmentation.crop.side is not None:
            raise ValueError("augmentation.crop.side is for images")
        return self

    @property
    def size(self) -> tuple[int, int, int]:
        """Frames, rows and columns of a full input."""
        return self.frames, self.side, self.side


def training_data(config: VideoDataConfig, paths: Sequence[Path], exclude: Sequence[str] = ()) -> VideoDataset:
    """Load the videos that a recipe trains on. They determine mean and std unless the config fixes these.

    exclude: ids to leave out. Raises InputError.
    """
    crop = config.augmentation.crop
    smallest = config.side / crop.scale[0] ** 0.5 if crop else config.side  # so that the smallest crop has all pixels
    videos = find_videos(config, paths, config.on_error, Decoding(config.colours, round(smallest), config.decode))
    return _training_set(config, videos, exclude)


def training_arrays(config: VideoDataConfig, records: Records, exclude: Sequence[str] = ()) -> VideoDataset:
    """Prepare videos in memory for training: (frames, height, width) or (frames, height, width, 1 or 3) uint8 each."""
    videos = VideoArrays(each(records.raw, checked))
    return _training_set(config, VideoSet("array", records.ids, videos), exclude)


def _training_set(config: VideoDataConfig, videos: VideoSet, exclude: Sequence[str]) -> VideoDataset:
    videos = videos.rows(training_rows(videos.name, videos.ids, videos.split, config.part, exclude))
    pixels = config.pixels(partial(fit_statistics, videos, config.colours))
    preprocessing = VideoPreprocessing(frames=config.frames, stride=config.stride, **pixels)
    return VideoDataset.of(videos, preprocessing, config.augmentation, config.short)


def evaluation_data(
    preprocessing: VideoPreprocessing,
    paths: Sequence[Path],
    config: VideoDataConfig | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> VideoDataset:
    """Load all videos with labels and split, prepared for a model; files are decoded as they are read.

    Raises InputError.
    """
    config = config or VideoDataConfig()
    videos = find_videos(config, paths, on_error, Decoding(preprocessing.colours, preprocessing.side, "lazily"))
    return VideoDataset.of(videos, preprocessing, short=on_error)


def find_videos(
    config: VideoDataConfig, paths: Sequence[Path], on_error: Literal["raise", "skip"], decoding: Decoding
) -> VideoSet:
    """Read the videos of the path, or simulate the embedded set if there is none."""
    if not paths:
        return moving_digits(config.moving_digits)
    if len(paths) != 1:
        raise InputError(f"pass one set of videos as data, not {len(paths)}")
    path = Path(paths[0])
    if mnist.recognise(path):
        return moving_mnist(config.moving_mnist, path)
    return read_npz(path) if path.suffix.lower() == ".npz" else read_files(path, on_error, decoding)
