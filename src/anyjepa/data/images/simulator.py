"""An image set that needs no download: small scenes of striped and spotted shapes.

An image shows a bright textured shape of random place, size, rotation and tint, in front of a dark background with
waves and clutter. The class cannot be recognised from single pixels, and hardly from colours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from anyjepa.config import Config
from anyjepa.data.images.image_set import ImageSet, Labels, Masks
from anyjepa.randomness import generator

SHAPES = ("disk", "square", "triangle", "cross")
TEXTURES = ("striped", "spotted")
CLASSES = tuple(f"{texture} {shape}" for shape in SHAPES for texture in TEXTURES)
SIDE = 32
_CLUTTER = 2  # small discs in each image


class ImageSimulatorConfig(Config):
    """Number of images. Parts differ only in their random numbers."""

    train: PositiveInt = Field(default=6000, le=10**6, description="images of the training part")
    test: PositiveInt = Field(default=2000, le=10**6, description="images of the test part")
    seed: NonNegativeInt = Field(default=0, description="random seed of the images")


class _Scene(NamedTuple):
    """Random properties of n images, (n,) or (n, k) each."""

    shape: np.ndarray  # number of the shape
    texture: np.ndarray
    size: np.ndarray  # half the width of the shape, pixels
    middle: np.ndarray  # (n, 2)
    turn: np.ndarray  # radians
    colours: np.ndarray  # (n, 4, 3): two of the shape, two of the background; 0 to 1
    wave: np.ndarray  # (n, 2, 3): of shape and background: length in pixels, direction, phase
    clutter: np.ndarray  # (n, discs, 6): place, radius, colour


def simulate(config: ImageSimulatorConfig) -> ImageSet:
    """Make the set, with the training part first. All classes have the same number of images."""
    parts = {"train": config.train, "test": config.test}
    made = [_part(config.seed, part, count) for part, count in parts.items()]
    return ImageSet(
        name="simulator",
        ids=tuple(f"{part}/{row:05d}" for part, count in parts.items() for row in range(count)),
        images=np.concatenate([images for images, *_ in made]),
        split=tuple(part for part, count in parts.items() for _ in range(count)),
        labels={"class": Labels(CLASSES, np.concatenate([classes for _, classes, _ in made]))},
        masks=Masks(("background", *SHAPES), np.concatenate([masks for *_, masks in made])),
    )


def _part(seed: int, part: str, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (count, SIDE, SIDE, 3) uint8, classes (count,), and masks (count, SIDE, SIDE) int8."""
    classes = generator(seed, f"image classes {part}", 0).permutation(np.arange(count) % len(CLASSES))
    scenes = [
        _scene(classes[first : first + 500], generator(seed, f"images {part}", first)) for first in range(0, count, 500)
    ]
    return np.concatenate([*map(_draw, scenes)]), classes, np.concatenate([*map(_mask, scenes)])


def _scene(classes: np.ndarray, rng: np.random.Generator) -> _Scene:
    n = len(classes)
    size = rng.uniform(9, 13, n)
    wave = np.stack(
        [rng.uniform(4.5, 6.5, (n, 2)), rng.uniform(0, np.pi, (n, 2)), rng.uniform(0, 2 * np.pi, (n, 2))], axis=2
    )
    wave[:, 1, 0] = rng.uniform(12, 30, n)  # the background's waves are longer
    bright, dark = rng.uniform(0.8, 1, (n, 1)), rng.uniform(0, 0.3, (n, 1))
    greys = np.stack([bright, bright - rng.uniform(0.5, 0.6, (n, 1)), dark, dark + rng.uniform(-0.1, 0.1, (n, 1))], 1)
    tints = rng.uniform(-0.1, 0.1, (n, 2, 3)).repeat(2, axis=1)  # of the shape and of the background
    discs = rng.uniform(0, 1, (n, _CLUTTER, 6)) * [SIDE, SIDE, 1.5, 1, 1, 1] + [0, 0, 1.5, 0, 0, 0]
    return _Scene(
        shape=classes // len(TEXTURES),
        texture=classes % len(TEXTURES),
        size=size,
        middle=rng.uniform(0, 1, (n, 2)) * (SIDE - 1.8 * size)[:, None] + 0.9 * size[:, None],
        turn=rng.uniform(-0.5, 0.5, n),
        colours=np.clip(greys + tints, 0, 1),
        wave=wave,
        clutter=discs,
    )


def _mask(scene: _Scene) -> np.ndarray:
    """Mask of the shape in each image, (n, SIDE, SIDE) int8: 0 outside, else 1 + its number."""
    return np.where(_inside(scene, *_pixels()) > 0, _wide(scene.shape) + 1, 0).astype(np.int8)


def _pixels() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the pixel centres, x (1, 1, SIDE) and y (1, SIDE, 1)."""
    middles = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    return middles[None, None, :], middles[None, :, None]


def _draw(scene: _Scene) -> np.ndarray:
    """Draw the images, (n, SIDE, SIDE, 3) uint8."""
    x, y = _pixels()
    waves = scene.wave.astype(np.float32)
    ground = _mixed(scene.colours[:, 2], scene.colours[:, 3], _stripes(x, y, waves[:, 1]))
    for k in range(_CLUTTER):
        row, column, radius = (_wide(scene.clutter[:, k, i]) for i in range(3))
        inside = _edge(radius - np.hypot(y - row, x - column))
        ground = _over(ground, scene.clutter[:, k, None, None, 3:], inside)
    stripes = _stripes(x, y, waves[:, 0])
    across = waves[:, 0] + np.array([0, np.pi / 2, 1], np.float32)  # a second wave, at a right angle
    spots = np.where(stripes * _stripes(x, y, across) > 0.25, np.float32(1), np.float32(0))
    texture = np.where(_wide(scene.texture) == 0, np.float32(1) * (stripes > 0.5), spots)
    image = _over(ground, _mixed(scene.colours[:, 0], scene.colours[:, 1], texture), _edge(_inside(scene, x, y)))
    return (image * 255).round().astype(np.uint8)


def _inside(scene: _Scene, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Approximate distance of each pixel to the edge of the shape, (n, SIDE, SIDE), in pixels; negative outside."""
    dx, dy = x - _wide(scene.middle[:, 0]), y - _wide(scene.middle[:, 1])
    cos, sin, size = _wide(np.cos(scene.turn)), _wide(np.sin(scene.turn)), _wide(scene.size)
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    a, b = np.abs(u), np.abs(v)
    shapes = (
        0.9 * size - np.hypot(u, v),
        0.8 * size - np.maximum(a, b),
        0.55 * size - np.maximum(v, np.float32(3**0.5 / 2) * a - v / 2),
        np.minimum(size - np.maximum(a, b), 0.38 * size - np.minimum(a, b)),
    )
    return np.choose(_wide(scene.shape).astype(int), shapes)


def _stripes(x: np.ndarray, y: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Waves from 0 to 1, (n, SIDE, SIDE). wave: (n, 3) lengths, directions and phases."""
    length, direction, phase = (_wide(wave[:, i]) for i in range(3))
    turns = (np.cos(direction) * x + np.sin(direction) * y) / length
    return (np.sin(np.float32(2 * np.pi) * turns + phase) + 1) / 2


def _edge(inside: np.ndarray) -> np.ndarray:
    """Opacity of the shape: 1 inside, 0 outside, with a slope of one pixel between."""
    return np.clip(inside + np.float32(0.5), 0, 1)


def _mixed(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mix two colours (n, 3) to (n, SIDE, SIDE, 3), with the share (n, SIDE, SIDE) of the second."""
    return _over(first[:, None, None].astype(np.float32), second[:, None, None], share)


def _over(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> np.ndarray:
    return below + (above.astype(np.float32) - below) * cover[..., None]


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None]
