"""Labels per pixel of the simulated images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anyjepa.data.images.dataset import ImageDataset
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.images.simulator import SHAPES, ImageSimulatorConfig, simulate
from anyjepa.errors import InputError
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.protocol import Candidate, evaluate_places
from anyjepa.nn.vit import ViTConfig

MADE = simulate(ImageSimulatorConfig(train=80, test=40))
PREPROCESSING = ImagePreprocessing(side=32, mean=(0.5,) * 3, std=(0.25,) * 3)


def test_a_mask_shows_the_shape_of_its_image_and_nothing_else():
    places = ImageDataset.of(MADE, PREPROCESSING).places("masks")
    assert places.classes == ("background", *SHAPES)
    assert places.split == MADE.split
    for image, mask, label in zip(MADE.images, places.labels, MADE.labels["class"].numbers, strict=True):
        assert set(np.unique(mask)) == {0, 1 + label // 2}
        assert 0.05 < (mask > 0).mean() < 0.7
        assert image[mask > 0].max() > image[mask == 0].mean() + 50


def test_masks_follow_the_images_into_another_size_and_order():
    whole = ImageDataset.of(MADE, PREPROCESSING).places("masks")
    double = ImageDataset.of(MADE, PREPROCESSING.model_copy(update={"side": 64})).places("masks")
    assert (double.labels[3][::2, ::2] == whole.labels[3]).all()
    assert (double.labels[3][1::2, 1::2] == whole.labels[3]).all()
    swapped = ImageDataset.of(MADE.rows([5, 2]), PREPROCESSING).places("masks")
    assert (swapped.labels[1] == whole.labels[2]).all()


def test_a_model_that_sees_the_middle_of_images_is_refused():
    middle = ImageDataset.of(MADE, PREPROCESSING.model_copy(update={"centre": 0.875}))
    with pytest.raises(InputError, match=r"^evaluate: masks cover whole images, but this model sees 0\.875 of them$"):
        middle.places("masks")
    with pytest.raises(InputError, match=r"^evaluate: these images have no labels per place$"):
        ImageDataset.of(replace(MADE, masks=None), PREPROCESSING).places("masks")


def test_patches_of_images_are_segmented():
    data = ImageDataset.of(MADE, PREPROCESSING)
    encoder = ViTConfig(patch=(8, 8), dim=16, depth=1, heads=2).build(3, (32, 32)).eval()
    config = EvaluationConfig(protocol="dense", seeds=1, bootstrap=20, low_shot=20)
    result = evaluate_places({"encoder": Candidate(encoder)}, data, data.places("masks"), config, (8, 8))
    assert result.parts.groups == (16, 4, 40)
    assert result.parts.records == (16 * 16, 4 * 16, 40 * 16)
    assert result.intervals == "patients"
    assert result.rows[-1].class_metrics["auroc"]["background"].mean > 0.7
    assert not result.event_rows()
