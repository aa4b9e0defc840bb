"""The map: a projection that keeps what it says, and labels of any kind."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from anyjepa.report.contents import read_contents
from anyjepa.report.embedding import embedding_map, principal_components


def show(folder, **arrays):
    np.savez(folder / "artifacts" / "embedding.npz", **arrays)
    return embedding_map(read_contents(folder))


def test_two_components_of_a_plane_keep_all_distances():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 9)) + 5
    z, share = principal_components(plane)
    distances = np.linalg.norm(plane[:, None] - plane, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(z[:, None] - z, axis=-1), distances, atol=1e-9)
    assert share == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 8), (5, 1), (5, 8), (3, 2)])
def test_few_records_or_dimensions_are_drawn(run, shape):
    assert 'class="chart"' in show(run, features=np.zeros(shape))


def test_records_without_a_finite_embedding_are_counted(run):
    z = np.random.default_rng(0).normal(size=(30, 2))
    z[:3] = np.nan
    assert "27 records (3 without a finite embedding are not shown)" in show(run, z=z)


def test_test_records_are_preferred(run):
    split = np.resize(["train", "train", "test"], 30)
    assert "10 test records" in show(run, z=np.random.default_rng(0).normal(size=(30, 2)), split=split)


def test_many_records_and_labels_stay_readable(run):
    rng = np.random.default_rng(0)
    page = show(run, z=rng.normal(size=(9000, 2)), labels=rng.integers(0, 40, 9000).astype(str))
    assert "a random 2000 of them" in page
    assert "and others" in page
    assert len(page) < 600_000


@pytest.mark.parametrize(
    "pictures",
    [
        {"kind": "images", "pixels": np.zeros((5, 1, 8, 6, 3), np.uint8)},
        {"kind": "video", "pixels": np.zeros((5, 4, 8, 6, 1), np.uint8)},
        {"kind": "series", "signals": np.zeros((5, 3, 40), np.float16)},
        {
            "kind": "ecg",
            "signals": np.full((5, 2, 100), np.nan, np.float16),
            "fs": 100.0,
            "leads": np.array(["I", "V5"]),
        },
    ],
    ids=lambda pictures: pictures["kind"],
)
def test_pictured_records_are_the_points_of_the_map(run, pictures):
    features = np.random.default_rng(0).normal(size=(30, 4))
    ids = np.array([f"record {n}" for n in range(30)])
    page = show(run, features=features, ids=ids, pictured=np.array([1, 4, 9, 16, 25]), **pictures)
    assert "30 records, projected onto the first two principal components" in page
    assert "a random 5 of them are shown" in page
    data = re.findall(r'<script type="application/json">(.*?)</script>', page)[-1]
    assert json.loads(data)["ids"] == [f"record {n}" for n in (1, 4, 9, 16, 25)]
    assert "could not be drawn" in show(run, features=features, ids=ids, pictured=np.array([1, 99]), **pictures)


@pytest.mark.parametrize(
    "arrays",
    [
        {"z": np.zeros(3)},
        {"z": np.zeros((0, 2))},
        {"labels": np.array(["a"])},
        {"q": 1},
        {"features": np.full((3, 4), np.nan)},
    ],
)
def test_arrays_that_do_not_fit_are_named(run, arrays):
    assert "could not be drawn" in show(run, **arrays)
