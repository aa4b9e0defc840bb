"""Changes of colour: each as torchvision's, by Pillow, colorsys or by hand; laws of a batch; their place in a crop."""

from __future__ import annotations

import colorsys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from anyjepa.config import validated
from anyjepa.data.images.augmentation import AugmentationConfig, CropConfig
from anyjepa.data.images.colours import RecolourConfig, brightness, contrast, grey, hue, recolour, saturation, solarise
from anyjepa.data.images.dataset import ImageDataset
from anyjepa.data.images.image_set import ImageSet
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.images.source import ImageDataConfig
from anyjepa.data.video.source import VideoDataConfig
from anyjepa.errors import InputError
from anyjepa.randomness import generator

STILL = RecolourConfig(brightness=0, contrast=0, saturation=0, hue=0, jitter=0, grey=0, solarise=0)
ALL = RecolourConfig(hue=0.4, saturation=0.9, grey=0.3, solarise=0.3)
GEOMETRY = {"crop": CropConfig(), "flip": 0.5}


def changed(config: RecolourConfig, **keys: float) -> RecolourConfig:
    return config.model_copy(update=keys)


def rngs(n: int, seed: int = 0) -> list[np.random.Generator]:
    return [generator(seed, "crop", i) for i in range(n)]


def images(n: int = 6, side: int = 8, seed: int = 0) -> np.ndarray:
    """(n, side, side, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3)).astype(np.uint8)


def as_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def factors(*values: float) -> Tensor:
    return torch.tensor(values)[:, None, None, None]


def dataset(augmentation: AugmentationConfig, pixels: np.ndarray, side: int = 32) -> ImageDataset:
    pre = ImagePreprocessing(side=side, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    return ImageDataset.of(ImageSet("x", tuple(map(str, range(len(pixels)))), pixels), pre, augmentation)


@pytest.mark.parametrize(
    ("change", "pillow", "levels"),  # Pillow cuts to whole levels, and its mean grey is one
    [
        (brightness, ImageEnhance.Brightness, 1),
        (contrast, ImageEnhance.Contrast, 2),
        (saturation, ImageEnhance.Color, 2),
    ],
)
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_brightness_contrast_and_saturation_are_pillows_within_rounding(change, pillow, levels, factor):
    pixels = images()
    expected = [np.asarray(pillow(Image.fromarray(image)).enhance(factor)).astype(float) for image in pixels]
    found = change(as_tensor(pixels), factors(*[factor] * len(pixels))) * 255
    assert np.abs(found.permute(0, 2, 3, 1).numpy() - np.stack(expected)).max() <= levels


def test_by_hand():
    x = torch.tensor([[0.5, 0.1], [0.2, 0.9], [1.0, 0.0]])[None, :, None]  # one row of two pixels
    first, second = 0.2989 * 0.5 + 0.587 * 0.2 + 0.114 * 1.0, 0.2989 * 0.1 + 0.587 * 0.9
    assert grey(x).flatten().tolist() == pytest.approx([first, second])
    assert brightness(x, factors(1.5))[0, :, 0].flatten().tolist() == pytest.approx([0.75, 0.15, 0.3, 1, 1, 0])
    mean = (first + second) / 2
    assert contrast(x, factors(0.5))[0, 0, 0].tolist() == pytest.approx([0.25 + mean / 2, 0.05 + mean / 2])
    assert saturation(x, factors(1.2))[0, 1, 0].tolist() == pytest.approx([0.24 - first / 5, 1.08 - second / 5])
    assert solarise(x, 128)[0, :, 0].flatten().tolist() == pytest.approx([0.5, 0.1, 0.2, 0.1, 0.0, 0.0])


def test_grey_is_pillows_within_a_level():
    expected = [np.asarray(Image.fromarray(image).convert("L")).astype(float) for image in images()]
    assert np.abs(grey(as_tensor(images()))[:, 0].numpy() * 255 - np.stack(expected)).max() <= 1


@pytest.mark.parametrize("bright", [0, 1, 77, 128, 200, 256])
def test_solarisation_turns_the_levels_that_pillow_turns(bright):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    x = ImagePreprocessing(side=16, mean=(0,) * 3, std=(1,) * 3).standardise(np.stack([levels] * 3, -1)[None])
    found = solarise(torch.from_numpy(x), bright) * 255
    assert np.abs(found[0, 0].numpy() - np.asarray(ImageOps.solarize(Image.fromarray(levels), bright))).max() < 1e-3


@settings(deadline=None, max_examples=30)
@given(turn=st.floats(-0.5, 0.5, width=32), seed=st.integers(0, 2**32 - 1))
def test_hue_is_turned_as_by_colorsys(turn, seed):
    few = np.random.default_rng(seed).choice([0, 85, 128, 255], (1, 4, 16, 3)).astype(np.uint8)  # ties and greys
    x = as_tensor(np.concatenate([images(1, 16, seed)[:, :4], few], 1))
    found = hue(x, factors(turn))[0].flatten(1).T.tolist()
    for pixel, rgb in zip(x[0].flatten(1).T.tolist(), found, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        assert rgb == pytest.approx(colorsys.hsv_to_rgb((h + turn) % 1, s, v), abs=4e-6)


def test_nothing_asked_is_nothing_changed():
    x = as_tensor(images(40))
    assert torch.equal(recolour(STILL, x.clone(), rngs(40)), x)
    assert torch.equal(recolour(changed(STILL, jitter=1), x.clone(), rngs(40)), x)


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 12), cut=st.integers(0, 12), side=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_any_batching_gives_the_same_numbers(n, cut, side, seed):
    x = as_tensor(images(n, side, seed))
    together, cut = recolour(ALL, x.clone(), rngs(n, seed)), min(cut, n - 1)
    alone, rest = rngs(n, seed)[cut : cut + 1], rngs(n, seed)[cut:]
    assert torch.equal(recolour(ALL, x[cut : cut + 1].clone(), alone)[0], together[cut])
    torch.testing.assert_close(recolour(ALL, x[cut:].clone(), rest), together[cut:], rtol=0, atol=1e-6)
    assert together.min() >= -1e-6
    assert together.max() <= 1 + 1e-6


def test_chances_are_those_asked_for():
    x = torch.tensor([0.2, 0.4, 0.9])[:, None, None].repeat(4000, 1, 2, 2)
    for key, expected in (("jitter", 0.8), ("grey", 0.2), ("solarise", 0.1)):
        config = changed(RecolourConfig(), jitter=0, grey=0, solarise=0)
        some = (recolour(changed(config, **{key: expected}), x.clone(), rngs(4000)) != x).flatten(1).any(1)
        assert abs(some.float().mean().item() - expected) < 0.03


def test_amounts_are_uniform_in_their_range():
    x = torch.full((4000, 3, 1, 1), 0.25)
    for spread in (0.4, 1.0):
        found = recolour(changed(STILL, brightness=spread, jitter=1), x.clone(), rngs(4000))[:, 0, 0, 0] / 0.25
        assert (found.sort().values - torch.linspace(1 - spread, 1 + spread, 4000)).abs().max() < 0.08 * spread
    red = torch.tensor([1.0, 0.0, 0.0])[:, None, None].repeat(4000, 1, 1, 1)
    turned = recolour(changed(STILL, hue=0.1, jitter=1), red, rngs(4000))[:, :, 0, 0]
    signed = (turned[:, 1] - turned[:, 2]).double() / 6  # up to a sixth of a turn green or blue grows with it
    assert (signed.sort().values - torch.linspace(-0.1, 0.1, 4000).double()).abs().max() < 0.008


def test_every_order_of_the_four_is_as_frequent():
    """Of two changes that do not commute an image shows which came first; the four are told by their pairs."""
    x = as_tensor(images(1)).repeat(2000, 1, 1, 1)
    config = changed(STILL, brightness=1.0, contrast=1.0, jitter=1)
    found = recolour(config, x.clone(), rngs(2000))
    uniforms = np.stack([rng.random(11) for rng in rngs(2000)])
    b, c = (torch.from_numpy(2 * uniforms[:, k])[:, None, None, None].float() for k in (1, 2))
    one, other = contrast(brightness(x, b), c), brightness(contrast(x, c), b)
    first = ((found - one).abs().amax((1, 2, 3)) < 1e-5).numpy()
    second = ((found - other).abs().amax((1, 2, 3)) < 1e-5).numpy()
    assert (first | second).all()
    assert abs((first & ~second).mean() - (second & ~first).mean()) < 0.08
    orders, counts = np.unique(uniforms[:, 5:9].argsort(1), axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > 50
    assert ((uniforms[:, 5] < uniforms[:, 6]) >= (first & ~second)).all()


def test_crops_come_first_and_keep_their_numbers():
    pixels = images(20, 32)
    plain, _ = dataset(AugmentationConfig(**GEOMETRY), pixels).crops(range(20), rngs(20))
    still, _ = dataset(AugmentationConfig(**GEOMETRY, recolour=STILL), pixels).crops(range(20), rngs(20))
    assert still.dtype == np.float32
    assert np.allclose(still, plain, atol=1e-5)
    dark = changed(STILL, solarise=1, bright=0)  # the negative, before it is standardised
    turned, _ = dataset(AugmentationConfig(**GEOMETRY, recolour=dark), pixels).crops(range(20), rngs(20))
    mean, std = np.array([0.4, 0.5, 0.6])[:, None, None], np.array([0.2, 0.25, 0.3])[:, None, None]
    assert np.allclose(turned * std + mean, 1 - (plain * std + mean), atol=1e-5)


@pytest.mark.parametrize("geometry", [{}, {"flip": 0.5}, GEOMETRY])
@pytest.mark.parametrize("side", [16, 32, 64])
def test_one_by_one_equals_a_whole_batch(geometry, side):
    """And an image depends on nothing but its own generator, in memory or in files, enlarged or made smaller."""
    wave = np.sin(np.linspace(0, 3, 32)[:, None] + np.arange(24)[:, None, None])[..., None] * np.array([1, -1, 0.5])
    pixels = (127.5 + 100 * np.broadcast_to(wave, (24, 32, 32, 3))).astype(np.uint8)
    gentle = changed(RecolourConfig(), solarise=0, hue=0)  # a level less must not turn into its negative
    data = dataset(AugmentationConfig(**geometry, recolour=gentle), pixels, side)
    together, _ = data.crops(range(24), rngs(24))
    for i in (0, 7):
        alone, _ = data.crops([i], [generator(0, "crop", i)])
        assert np.abs(alone[0] - together[i]).max() < 1e-4
    again, _ = data.crops(range(24), rngs(24))
    assert np.array_equal(together, again)
    whole = data.crops(range(24), rngs(24, 1))[0]
    assert not np.allclose(together, whole, atol=0.05)
    one_by_one, _ = replace(data, images=list(pixels)).crops(range(24), rngs(24))  # type: ignore[arg-type]
    assert np.abs(one_by_one - together).max() < 4 / 255 / 0.2  # Pillow rounds to levels, and factors enlarge that


def test_evaluation_never_sees_it():
    data = dataset(AugmentationConfig(recolour=ALL), images(2, 32))
    assert np.array_equal(data[1], data.preprocessing.prepare(images(2, 32)[1]))


@pytest.mark.parametrize(
    ("model", "table", "message"),
    [
        (ImageDataConfig, {"colours": "grey"}, r"recipe: augmentation\.recolour needs colours=rgb: grey images"),
        (VideoDataConfig, {}, r"recipe: augmentation\.recolour is for images; clips are"),
        (ImageDataConfig, {"augmentation": {"recolour": {"hue": 0.6}}}, r"recolour\.hue must be at most 0\.5"),
    ],
)
def test_what_cannot_be_recoloured_is_refused_in_a_line(model, table, message):
    with pytest.raises(InputError, match=message) as error:
        validated(model, {"augmentation": {"recolour": {}}, **table}, "recipe")
    assert "\n" not in str(error.value)


def test_a_recoloured_batch_costs_little():
    """256 images of 32 x 32 with crops and flips: measured 22 ms on one busy core; 150 ms of CPU time leaves room."""
    data, took = dataset(AugmentationConfig(**GEOMETRY, recolour=RecolourConfig()), images(256, 32)), []
    for _ in range(3):
        drawn, start = rngs(256), time.thread_time()
        data.crops(range(256), drawn)
        took.append(time.thread_time() - start)
    assert min(took) < 0.15
