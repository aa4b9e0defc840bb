"""Videos of moving digits: Moving-MNIST (Srivastava et al. 2015) from MNIST files, and an embedded set.

A clip is stored as a few numbers (its digits and their places in each frame) and rendered on demand. Random numbers are
drawn by rows, so that clip i does not depend on the number of clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from anyjepa.config import Config
from anyjepa.data.images.sets.mnist import read_mnist
from anyjepa.data.labels import LabelTable
from anyjepa.data.video.video_set import VideoSet
from anyjepa.errors import InputError
from anyjepa.limits import MEMORY
from anyjepa.randomness import generator

DIGITS = tuple("0123456789")
MOTIONS = ("right", "left", "down", "up", "clockwise", "anticlockwise")


class MovingMnistConfig(Config):
    """Digits of MNIST that bounce in a black square (Srivastava et al. 2015, section 3.1)."""

    clips: PositiveInt = Field(default=8000, description="training clips, of training digits only")
    test_clips: PositiveInt = Field(default=2000, description="test clips, of test digits only")
    frames: PositiveInt = Field(default=20, description="frames of a clip")
    side: int = Field(default=64, ge=32, le=512, description="width and height of a frame, pixels")
    digits: int = Field(default=2, ge=1, le=9, description="digits per clip; they can have the same class")
    speed: tuple[PositiveFloat, PositiveFloat] = Field(default=(2.0, 5.0), description="range, pixels per frame")
    seed: int = Field(default=0, description="other seeds give other clips")


class MovingDigitsConfig(Config):
    """The embedded set: one of scikit-learn's 1,797 digits moves in one of six ways, and the others do not move.

    Opposite edges are joined, and all places are equally likely in every frame, so that a single frame reveals neither
    the motion nor which digit moves.
    """

    clips: PositiveInt = Field(default=3000, description="number of clips; the motions alternate")
    frames: int = Field(default=8, ge=2, description="frames of a clip")
    side: int = Field(default=32, ge=20, le=256, description="width and height of a frame, pixels")
    still: int = Field(default=1, ge=0, le=9, description="digits per clip that do not move")
    speed: tuple[PositiveFloat, PositiveFloat] = Field(default=(1.0, 2.5), description="range, pixels per frame")
    seed: int = Field(default=0, description="other seeds give other clips")


@dataclass(frozen=True, eq=False)
class Sprites:
    """`Videos` of images that move over a black ring of `side` pixels. The brighter pixel wins where they overlap."""

    images: np.ndarray  # (M, h, w) uint8
    which: np.ndarray  # (N, D) images of each clip
    places: np.ndarray  # (N, T, D, 2) rows and columns of their corners
    side: int

    checksums = ()

    @property
    def lengths(self) -> np.ndarray:
        return np.full(len(self.places), self.places.shape[1])

    def read(self, index: int, frames: np.ndarray) -> np.ndarray:
        drawn = np.zeros((len(frames), self.side, self.side), np.uint8)
        extent = np.arange(self.images.shape[1]), np.arange(self.images.shape[2])
        for image, places in zip(
            self.images[self.which[index]], self.places[index, frames].swapaxes(0, 1), strict=True
        ):
            rows, columns = ((places[:, axis, None] + extent[axis]) % self.side for axis in (0, 1))  # (T, h), (T, w)
            part = np.arange(len(frames))[:, None, None], rows[:, :, None], columns[:, None, :]
            drawn[part] = np.maximum(drawn[part], image)
        return drawn[..., None]

    def rows(self, index: np.ndarray) -> Sprites:
        return Sprites(self.images, self.which[index], self.places[index], self.side)


def moving_mnist(config: MovingMnistConfig, folder: Path) -> VideoSet:
    """Make clips from the MNIST files of a folder, with the task `digits`: which of the ten digits a clip shows.

    Test clips show no images of training clips. The split is the published one if both image files exist. If there are
    only the 10,000 test images, a random 8,000 with a fixed seed are for training, because in the published order the
    second half is harder. Raises InputError if files do not match.
    """
    clips = config.clips + config.test_clips
    MEMORY.check(48 * clips * config.frames * config.digits, f"data.moving_mnist: {clips} clips")
    mnist = read_mnist(folder)
    images = np.asarray(mnist.images)[..., 0]
    if max(images.shape[1:]) > config.side:
        raise InputError(f"{folder}: its images are {images.shape[1:]}, larger than frames of {config.side}")
    labels, split = mnist.labels["class"].numbers, np.array(mnist.split)
    if len(set(split)) == 1:
        place = generator(0, "moving mnist split", 0).permutation(len(images))
        split = np.where(place < len(images) * 4 // 5, "train", "test")
    which, places = zip(
        *(_bouncing(config, part, count, np.flatnonzero(split == part), config.side - images.shape[1])
          for part, count in (("train", config.clips), ("test", config.test_clips))),
        strict=True,
    )  # fmt: skip
    ids = [f"{part}/{n:05d}" for part, rows in zip(("train", "test"), which, strict=True) for n in range(len(rows))]
    shown = np.concatenate(which)
    values = (labels[shown][..., None] == np.arange(10)).any(1)
    parts = tuple(id.split("/")[0] for id in ids)
    table = LabelTable(tuple(ids), DIGITS, values, tuple(ids), exclusive=False, split=parts)
    videos = Sprites(images, shown, np.concatenate(places), config.side)
    return VideoSet("moving-mnist", tuple(ids), videos, groups=tuple(ids), split=parts, tables={"digits": table})


def _bouncing(
    config: MovingMnistConfig, part: str, count: int, images: np.ndarray, room: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, D) and their places (N, T, D, 2) in frames where a corner has `room` + 1 places."""
    draw = generator(config.seed, f"moving mnist {part}", 0).random((count, 5, config.digits))
    which = images[(draw[:, 0] * len(images)).astype(int)]
    start, angle = draw[:, 1:3] * room, 2 * np.pi * draw[:, 3]  # (N, 2, D), (N, D)
    speed = config.speed[0] + (config.speed[1] - config.speed[0]) * draw[:, 4]
    velocity = speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    path = start[:, None] + velocity[:, None] * np.arange(config.frames)[:, None, None]  # (N, T, 2, D)
    bounced = room - np.abs(path % (2 * room) - room) if room else np.zeros_like(path)
    return which, bounced.round().astype(np.int16).swapaxes(2, 3)


def moving_digits(config: MovingDigitsConfig) -> VideoSet:
    """Make the embedded clips, with the tasks `motion` and `digit` (the class of the moving digit).

    Groups are images of moving digits. The split is by images, and the other digits of a clip are from the same part.
    """
    MEMORY.check(48 * config.clips * config.frames * (1 + config.still), f"data.moving_digits: {config.clips} clips")
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    images = np.kron(np.reshape(pixels, (-1, 8, 8)) * (255 / 16), np.ones((2, 2))).round().astype(np.uint8)  # 16 x 16
    parts = _parts(len(images))
    draw = generator(config.seed, "moving digits", 0).random((config.clips, 6 + 3 * config.still))
    which = (draw[:, 0] * len(images)).astype(int)
    others, corners = np.split(draw[:, 6:].reshape(config.clips, config.still, 3), [1], axis=2)
    still = np.empty((config.clips, config.still), int)
    for part in np.unique(parts):
        rows, pool = parts[which] == part, np.flatnonzero(parts == part)
        still[rows] = pool[(others[rows, :, 0] * len(pool)).astype(int)]
    motion = np.arange(config.clips) % len(MOTIONS)
    standing = np.repeat((corners * config.side).astype(np.int16)[:, None], config.frames, axis=1)  # (N, T, still, 2)
    places = np.concatenate([_on_a_ring(config, motion, draw[:, 1:6]), standing], axis=2)
    ids = tuple(f"digits{config.seed}-{n:05d}" for n in range(config.clips))
    groups, split = tuple(f"digit-{n:04d}" for n in which), tuple(parts[which].tolist())
    tables = {
        task: LabelTable(ids, names, numbers[:, None] == np.arange(len(names)), groups, exclusive=True, split=split)
        for task, names, numbers in (("motion", MOTIONS, motion), ("digit", DIGITS, np.asarray(target, int)[which]))
    }
    return VideoSet(
        "moving digits",
        ids,
        Sprites(images, np.column_stack([which, still]), places, config.side),
        groups,
        split,
        tables,
    )


def _on_a_ring(config: MovingDigitsConfig, motion: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Places (N, T, 1, 2) on lines, or on circles with about a turn per 8 frames; rendered modulo the side."""
    start, speed = draw[:, :2] * config.side, config.speed[0] + (config.speed[1] - config.speed[0]) * draw[:, 2]
    time = np.arange(config.frames)
    direction = np.array([[0, 1], [0, -1], [1, 0], [-1, 0]])[motion % 4]  # down is +row
    line = direction[:, None] * (speed[:, None] * time)[..., None]  # (N, T, 2)
    turn = np.where(motion == MOTIONS.index("clockwise"), 1, -1) * (0.7 + 0.5 * draw[:, 3]) / 8  # turns per frame
    angle = 2 * np.pi * (draw[:, 4, None] + turn[:, None] * time)
    radius = (speed / (2 * np.pi * np.abs(turn)))[:, None, None]  # gives circles the speed of lines
    circle = radius * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    path = start[:, None] + np.where((motion < 4)[:, None, None], line, circle)
    return path.round().astype(np.int16)[:, :, None]


def _parts(images: int) -> np.ndarray:
    """Part of each image: 'train', 'validation' or 'test' with shares 0.7, 0.15 and 0.15, by golden ratios (mod 1)."""
    place = ((np.arange(images) + 0.5) * (5**0.5 - 1) / 2) % 1
    return np.array(["train", "validation", "test"])[np.searchsorted([0.7, 0.85], place, side="right")]
