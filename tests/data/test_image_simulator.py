"""The embedded image set: reproducible, balanced, and no class is told by pixels or colours alone."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import RidgeClassifier

from anyjepa.data.images.simulator import CLASSES, ImageSimulatorConfig, simulate


def test_the_seed_decides_every_pixel():
    config = ImageSimulatorConfig(train=20, test=10)
    first, again, other = (simulate(config.model_copy(update={"seed": seed})) for seed in (0, 0, 1))
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)
    assert first.images.shape == (30, 32, 32, 3)
    assert first.images.dtype == np.uint8


def test_more_images_leave_the_other_part_as_it_is():
    few, many = (simulate(ImageSimulatorConfig(train=n, test=16)) for n in (16, 32))
    assert np.array_equal(few.images[16:], many.images[32:])


def test_classes_are_balanced_in_both_parts():
    made = simulate(ImageSimulatorConfig(train=160, test=80))
    numbers = made.labels["class"].numbers
    assert np.bincount(numbers[:160]).tolist() == [20] * len(CLASSES)
    assert np.bincount(numbers[160:]).tolist() == [10] * len(CLASSES)


def test_neither_pixels_nor_colours_tell_the_class():
    made = simulate(ImageSimulatorConfig(train=800, test=400))
    x, y = made.images / 255, made.labels["class"].numbers
    middle = np.median(x, (1, 2))
    colours = np.concatenate([x.mean((1, 2)), middle, x.std((1, 2))], 1)
    for features in (x[:, ::4, ::4].reshape(len(x), -1), colours):
        probe = RidgeClassifier(alpha=10).fit(features[:800], y[:800])
        assert probe.score(features[800:], y[800:]) < 0.3  # chance is .125
