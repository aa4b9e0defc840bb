"""Prepared images and their random crops: exact, by each image's own generator, and the same by both ways."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from anyjepa.data.images.augmentation import AugmentationConfig, CropConfig, draw
from anyjepa.data.images.dataset import ImageDataset
from anyjepa.data.images.image_set import ImageSet, Labels
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.images.source import ImageDataConfig, evaluation_data, training_data
from anyjepa.errors import InputError
from anyjepa.randomness import generator

PLAIN = ImagePreprocessing(side=32, mean=(0, 0, 0), std=(1 / 255,) * 3)  # leaves pixels as they are
BOTH = AugmentationConfig(crop=CropConfig(), flip=0.5)
SMALL = ImageDataConfig.model_validate({"simulator": {"train": 48, "test": 16}})


def dataset(augmentation: AugmentationConfig, n: int = 6, side: int = 32, channels: int = 3) -> ImageDataset:
    """Smooth random images in memory."""
    rng, x = np.random.default_rng(0), np.linspace(0, 3, side)
    waves = np.sin(x[:, None] * rng.uniform(1, 3, (n, 1, 1)) + x[None, :] * rng.uniform(1, 3, (n, 1, 1)))
    pixels = (127.5 + 127 * waves[..., None] * rng.uniform(0.3, 1, (n, 1, 1, channels))).astype(np.uint8)
    return ImageDataset.of(ImageSet("waves", tuple(map(str, range(n))), pixels), PLAIN, augmentation)


def rngs(n: int, seed: int = 0) -> list[np.random.Generator]:
    return [generator(seed, "crop", i) for i in range(n)]


@pytest.mark.parametrize("preprocessing", [PLAIN, PLAIN.model_copy(update={"centre": 0.5})])
def test_images_read_ahead_are_the_images(preprocessing):
    data, places = replace(dataset(AugmentationConfig(), n=70), preprocessing=preprocessing), [3, *range(69, 2, -1), 3]
    ahead = list(data.ahead(places))
    assert len(ahead) == len(places)
    assert all(np.array_equal(image, data[place]) for image, place in zip(ahead, places, strict=True))


def test_small_crops_are_those_of_a_smaller_input():
    small = replace(dataset(BOTH), preprocessing=PLAIN.model_copy(update={"side": 24}))
    data = dataset(BOTH.model_copy(update={"crop": CropConfig(side=24)}))
    assert data[0].shape == (3, 32, 32)
    assert np.array_equal(data.crops(range(6), rngs(6))[0], small.crops(range(6), rngs(6))[0])
    with pytest.raises(ValidationError, match="at most side, which is 32"):
        ImageDataConfig.model_validate({"augmentation": {"crop": {"side": 33}}})


def test_without_augmentation_a_crop_is_the_image_and_draws_nothing():
    data, untouched = dataset(AugmentationConfig()), rngs(6)
    x, starts = data.crops(range(6), untouched)
    assert x.dtype == np.float32
    assert x.shape == (6, 3, 32, 32)
    assert not starts.any()
    assert np.array_equal(x, np.stack([data[i] for i in range(6)]))
    assert np.allclose(x, data.images.transpose(0, 3, 1, 2), atol=1e-4)
    assert untouched[0].random() == rngs(1)[0].random()


@pytest.mark.parametrize("augmentation", [AugmentationConfig(flip=0.5), BOTH, AugmentationConfig(crop=CropConfig())])
def test_each_image_depends_on_its_own_generator_only(augmentation):
    data = dataset(augmentation)
    together, _ = data.crops([4, 1, 1], rngs(3))
    for place, index in enumerate([4, 1, 1]):
        alone, _ = data.crops([index], [generator(0, "crop", place)])
        assert np.allclose(alone[0], together[place], atol=1e-3)


def test_a_whole_batch_equals_pillow_image_by_image():
    data = dataset(BOTH, n=40)
    at_once, _ = data.crops(range(40), rngs(40))
    one_by_one = data._one_by_one(range(40), rngs(40))
    assert np.abs(at_once - one_by_one).max() < 1.01  # Pillow rounds to whole numbers


@pytest.mark.parametrize(("shape", "centre"), [((16, 32), 1.0), ((32, 32), 0.875), ((16, 16), 1.0)])
def test_a_flip_mirrors_what_is_there_without_it(shape, centre):
    images = ImageSet("toy", ("a",), np.random.default_rng(0).integers(0, 256, (1, *shape, 3), np.uint8))
    pre = ImagePreprocessing(side=32, centre=centre, mean=(0.5,) * 3, std=(0.25,) * 3)
    plain = ImageDataset.of(images, pre)
    flipped, _ = ImageDataset.of(images, pre, AugmentationConfig(flip=1.0)).crops([0], rngs(1))
    assert np.array_equal(flipped[0, ..., ::-1], plain.crops([0], rngs(1))[0][0])
    assert np.array_equal(flipped[0, ..., ::-1], plain[0])


def test_flips_are_as_frequent_as_asked():
    data = dataset(AugmentationConfig(flip=0.25), n=1)
    x, _ = data.crops([0] * 2000, rngs(2000))
    flipped = (x == data[0][..., ::-1]).all((1, 2, 3))
    assert ((x == data[0]).all((1, 2, 3)) | flipped).all()
    assert abs(flipped.mean() - 0.25) < 0.03


@settings(deadline=None, max_examples=50)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    low=st.floats(0.05, 1),
    high=st.floats(0.05, 1),
    narrow=st.floats(0.2, 1),
)
def test_boxes_lie_in_the_image_and_keep_their_range(height, width, low, high, narrow):
    crop = CropConfig(scale=(min(low, high), max(low, high)), ratio=(narrow, 1 / narrow))
    boxes = draw(AugmentationConfig(crop=crop), np.tile((height, width), (20, 1)), rngs(20))
    assert boxes is not None
    top, left, h, w, flip = boxes
    assert (top >= -1e-9).all()
    assert (left >= -1e-9).all()
    assert (top + h <= height + 1e-6).all()
    assert (left + w <= width + 1e-6).all()
    assert (w / h >= narrow - 1e-6).all() or (w >= width - 1e-6).any() or (h >= height - 1e-6).any()
    assert (h * w <= crop.scale[1] * height * width + 1e-6).all() or (w / h <= 1 / narrow + 1e-6).all()
    assert not flip.any()


def test_areas_are_uniform_in_their_range():
    crop = CropConfig(scale=(0.2, 0.6), ratio=(1, 1))
    boxes = draw(AugmentationConfig(crop=crop), np.tile((32, 32), (4000, 1)), rngs(4000))
    assert boxes is not None
    shares = np.sort(boxes.height * boxes.width / 32**2)
    assert np.abs(shares - np.linspace(0.2, 0.6, 4000)).max() < 0.02


def test_a_batch_of_crops_costs_little():
    """256 images of 32 x 32: measured 5 ms on one core; 60 ms of CPU time leaves room for a busy machine."""
    data, took = dataset(BOTH, n=256), []
    for _ in range(3):
        drawn, start = rngs(256), time.thread_time()
        data.crops(range(256), drawn)
        took.append(time.thread_time() - start)
    assert min(took) < 0.06


def test_larger_images_are_antialiased():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    data = ImageDataset.of(
        ImageSet("stripes", ("a",), stripes), PLAIN, AugmentationConfig(crop=CropConfig(scale=(1, 1)))
    )
    assert np.abs(data.crops([0], rngs(1))[0] - 127.5)[..., 1:-1].max() < 3
    assert np.abs(data[0] - 127.5)[..., 1:-1].max() < 3


@pytest.mark.parametrize("shape", [(20, 50, 3), (32, 32), (7, 7, 1), (100, 40, 1)])
def test_any_image_becomes_one_size(shape):
    for colours, n in (("rgb", 3), ("grey", 1)):
        preprocessing = ImagePreprocessing(side=32, colours=colours, mean=(0.5,) * n, std=(0.5,) * n)
        x = preprocessing.prepare(np.full(shape, 255, np.uint8))
        assert x.shape == (n, 32, 32)
        assert np.allclose(x, 1, atol=1e-3)


def test_the_middle_square_is_kept():
    image = np.zeros((32, 96, 3), np.uint8)
    image[:, 32:64] = 200
    assert np.allclose(PLAIN.prepare(image), 200, atol=1e-3)
    centre = PLAIN.model_copy(update={"centre": 0.5})
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 16:48] = 200
    assert np.allclose(centre.prepare(image)[..., 1:-1, 1:-1], 200, atol=1e-3)


@pytest.mark.parametrize(
    "raw", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)]
)
def test_what_is_no_image_is_refused(raw):
    with pytest.raises(InputError, match="an image has"):
        PLAIN.prepare(raw)


def test_statistics_are_of_the_training_part_and_exact():
    data = training_data(SMALL, [])
    pixels = data.images / 255
    assert len(data) == 48
    assert np.allclose(data.preprocessing.mean, pixels.mean((0, 1, 2)))
    assert np.allclose(data.preprocessing.std, pixels.std((0, 1, 2)))
    x, _ = data.crops(range(48), rngs(48))
    assert np.allclose(x.mean((0, 2, 3)), 0, atol=1e-4)
    assert np.allclose(x.std((0, 2, 3)), 1, atol=1e-4)
    fixed = training_data(SMALL.model_copy(update={"mean": (0.5,) * 3, "std": (0.25,) * 3}), [])
    assert fixed.preprocessing.mean == (0.5,) * 3


def test_parts_exclusion_and_tables():
    assert len(training_data(SMALL.model_copy(update={"part": "all"}), [])) == 64
    data = training_data(SMALL, [], exclude=["train/00003"])
    assert len(data) == 47
    assert "train/00003" not in data.ids
    with pytest.raises(InputError, match="not in the data: train/99999; did you mean"):
        training_data(SMALL, [], exclude=["train/99999"])
    whole = evaluation_data(data.preprocessing, [], SMALL)
    table = whole.tables["class"]
    assert table.ids == whole.ids
    assert table.split is not None
    assert table.split.count("test") == 16
    assert table.exclusive
    assert len(table.classes) == 8
    with pytest.raises(InputError, match="pass one set of images"):
        training_data(SMALL, ["a", "b"])  # type: ignore[list-item]


def test_grey_images_as_rgb_and_rgb_as_grey():
    grey = replace(dataset(BOTH), images=np.full((6, 32, 32, 1), 100, np.uint8))
    assert np.allclose(grey.crops([0, 1], rngs(2))[0], 100, atol=1e-3)
    luma = ImagePreprocessing(side=32, colours="grey", mean=(0,), std=(1 / 255,))
    red = replace(dataset(BOTH), images=np.full((6, 32, 32, 3), [200, 0, 0], np.uint8), preprocessing=luma)
    assert np.allclose(red.crops([0], rngs(1))[0], 59.8, atol=1e-2)


def test_labels_follow_their_images():
    images = ImageSet("x", ("a", "b", "c"), np.zeros((3, 2, 2, 3), np.uint8), ("train", "test", "train"),
                      {"class": Labels(("u", "v"), np.array([0, 1, 1]))})  # fmt: skip
    chosen = images.rows([2, 0])
    assert (chosen.ids, chosen.split) == (("c", "a"), ("train", "train"))
    assert chosen.labels["class"].numbers.tolist() == [1, 0]


@pytest.mark.parametrize(("mean", "std"), [(0.5, 1e-300), (0.5, 0.0), (1e300, 0.5)])
def test_constants_that_would_overflow_are_refused(mean: float, std: float) -> None:
    with pytest.raises(ValidationError, match=r"greater than or equal to|less than or equal to"):
        ImagePreprocessing(side=32, mean=(mean,) * 3, std=(std,) * 3)
