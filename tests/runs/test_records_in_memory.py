"""Records in memory, of every modality: pretrained, evaluated and embedded by the same arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.records import Records

RNG = np.random.default_rng(0)
N = 24
LABELS = ["even", "odd"] * (N // 2)
BRIEF = [
    "training.steps=2",
    "training.batch_size=4",
    "training.optimiser.warmup=1",
    "training.workers=0",
    "objective.encoder.depth=1",
    "objective.predictor.depth=1",
]
FAST = {"protocol": "knn", "seeds": 1, "bootstrap": 0, "min_count": 1, "folds": 2}
IMAGES = RNG.integers(0, 256, (N, 32, 32, 3), np.uint8)
VIDEOS = RNG.integers(0, 256, (N, 10, 32, 32), np.uint8)
SERIES = RNG.normal(size=(N, 5, 300)).astype(np.float32)


def ecgs() -> np.ndarray:
    return np.stack([r.signal for r in simulate(SimulatorConfig(patients=N, fs=100, duration_s=10, seed=7))])


OF_ECGS = {"fs": 100, "leads": LEADS, "unit": "mV"}
KINDS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("ecg-jepa-demo", ecgs, OF_ECGS, "ECGs"),
    ("ijepa-demo", lambda: IMAGES, {}, "images"),
    ("vjepa-demo", lambda: VIDEOS, {}, "videos"),
    ("series-jepa-demo", lambda: SERIES, {}, "series"),
]


@pytest.mark.parametrize(("recipe", "data", "options", "what"), KINDS, ids=lambda x: x if isinstance(x, str) else "")
def test_an_array_is_pretrained_evaluated_and_embedded(recipe, data, options, what, tmp_path: Path) -> None:
    array = data()
    groups = [f"p{place // 2}" for place in range(N)]
    run = anyjepa.pretrain(recipe, array, tmp_path / "run", edits=BRIEF, groups=groups, **options)
    described = json.loads((run.folder / "environment.json").read_text())["data"]
    assert (described["paths"], described["records"], described["patients"]) == (["arrays"], N, N // 2)
    result = anyjepa.evaluate(run, array, labels=LABELS, groups=groups, **options, **FAST)
    assert result.data == f"{what} in memory"
    assert result.rows[0].transductive
    assert len(list(run.results.glob("knn-labels-arrays-*.json"))) == 1
    vectors = anyjepa.embed(run, list(array), **options)
    assert vectors.shape == (N, anyjepa.load(run.folder).dim)
    np.testing.assert_array_equal(vectors, anyjepa.load(run.folder).embed(array, **options))


def test_a_data_set_of_pytorch_is_read_into_memory_with_its_labels(tmp_path: Path) -> None:
    pairs = TensorDataset(torch.from_numpy(IMAGES), torch.arange(N) % 2)
    run = anyjepa.pretrain("ijepa-demo", pairs, tmp_path / "set", edits=BRIEF)
    of_set = anyjepa.evaluate(run, pairs, **FAST)
    run = anyjepa.pretrain("ijepa-demo", IMAGES, tmp_path / "array", edits=BRIEF)
    of_array = anyjepa.evaluate(run, IMAGES, labels=np.arange(N) % 2, **FAST)
    assert of_set.rows == of_array.rows
    np.testing.assert_array_equal(anyjepa.embed(run, pairs), anyjepa.embed(run, IMAGES))


def test_booleans_are_classes() -> None:
    labels = Records.of(IMAGES[:2], labels=np.array([True, False])).labels
    assert labels == Records.of(IMAGES[:2], labels=[True, False]).labels == ("True", "False")


def test_images_of_different_sizes_are_a_list(tmp_path: Path) -> None:
    mixed = [IMAGES[0, :20], *IMAGES[1:]]
    model = anyjepa.fit(mixed, recipe="ijepa-demo", edits=BRIEF, output=tmp_path / "run")
    assert model.embed(mixed).shape == (N, model.dim)


def test_other_arrays_are_not_taken_for_those_of_pretraining(tmp_path: Path) -> None:
    run = anyjepa.pretrain("ijepa-demo", IMAGES, tmp_path / "run", edits=BRIEF)
    other = anyjepa.evaluate(run, 255 - IMAGES, labels=LABELS, **FAST)
    assert other.rows[0].transductive is False  # though their places, which are their ids, are the same
    assert not other.notices
    assert anyjepa.evaluate(run, IMAGES, labels=LABELS, **FAST).rows[0].transductive is True


def test_a_run_resumes_with_its_own_arrays_only(tmp_path: Path) -> None:
    resume = {"output": tmp_path / "run", "edits": BRIEF, "resume": True}
    anyjepa.pretrain("ijepa-demo", IMAGES, tmp_path / "run", edits=BRIEF)
    anyjepa.pretrain("ijepa-demo", IMAGES, **resume)
    with pytest.raises(anyjepa.InputError, match=r"^\S+run: the signals of arrays have changed since it was started"):
        anyjepa.pretrain("ijepa-demo", 255 - IMAGES, **resume)
    with pytest.raises(anyjepa.InputError, match=r"^\S+run: was started with other records: 24 of arrays, now 20"):
        anyjepa.pretrain("ijepa-demo", IMAGES[:20], **resume)


def test_records_are_excluded_by_id(tmp_path: Path) -> None:
    ids = [f"image-{place}" for place in range(N)]
    run = anyjepa.pretrain("ijepa-demo", IMAGES, tmp_path / "run", edits=BRIEF, ids=ids, exclude=ids[:4])
    assert run.environment()["data"]["records"] == N - 4
    with pytest.raises(anyjepa.InputError, match="records to exclude are not in the data: image-99"):
        anyjepa.pretrain("ijepa-demo", IMAGES, tmp_path / "other", edits=BRIEF, ids=ids, exclude=["image-99"])


def test_anndata_is_pretrained_evaluated_and_embedded(tmp_path: Path) -> None:
    import anndata
    import pandas as pd

    genes = [f"G{number}" for number in range(50)]
    obs = pd.DataFrame(
        {"perturbation": np.repeat(["control", *genes[:3]], 30)}, index=[f"cell{number}" for number in range(120)]
    )
    counts = RNG.poisson(8.0, (120, 50)).astype(np.float32)
    cells = anndata.AnnData(counts, obs, pd.DataFrame(index=genes))
    filters = ["genes=50", "hidden.steps=0", "file.quality.min_genes=1"]
    edits = [*BRIEF[:4], *(f"data.{edit}" for edit in filters)]
    run = anyjepa.pretrain("perturb-jepa", cells, tmp_path / "run", edits=edits, exclude=["cell0"])
    assert run.environment()["data"]["records"] <= 119
    donors = [f"d{number % 10}" for number in range(120)]
    result = anyjepa.evaluate(run, cells, labels=["a", "b"] * 60, groups=donors, **FAST)
    assert (result.data, result.rows[0].transductive) == ("cells in memory", True)
    np.testing.assert_array_equal(anyjepa.embed(run, cells), anyjepa.load(run.folder).embed(cells))


class Triples(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, int]:
        return IMAGES[index], 0, 1


LOADER = DataLoader(TensorDataset(torch.from_numpy(IMAGES)))
BROKEN = IMAGES.copy().astype(float)
INFINITE = np.where(np.arange(300) == 7, np.inf, SERIES)


@pytest.mark.parametrize(
    ("recipe", "data", "options", "message"),
    [
        ("ijepa-demo", SERIES, {}, "record 0: an image has pixels of type float32; they must be uint8, 0 to 255"),
        ("ijepa-demo", IMAGES[0], {}, r"data: shape \(32, 32, 3\) is that of one record; the first axis"),
        ("ijepa-demo", IMAGES, {"labels": LABELS[:3]}, "labels: 3 entries for 24 records; give one per record"),
        (
            "ijepa-demo",
            IMAGES,
            {"labels": [*LABELS[1:], None]},
            r"labels\[23\]: is missing; every record needs",
        ),
        ("ijepa-demo", IMAGES, {"groups": ["a"]}, "groups: 1 entries for 24 records; give one per record"),
        ("ijepa-demo", IMAGES, {"ids": ["a"] * N}, r"ids\[1\]: 'a' is also the id of entry 0; ids must be unique"),
        ("ijepa-demo", IMAGES, {"fs": 100}, "fs: is for ECGs; these are images"),
        ("ijepa-demo", [], {"labels": []}, "labels: describes records in memory, but the data are files"),
        ("ijepa-demo", IMAGES[:0], {}, "data: contains no record"),
        ("ijepa-demo", None, {}, "data: is a NoneType; it must be a list, one entry per record"),
        ("ijepa-demo", Triples(), {}, r"data\[0\]: has 3 parts; the items of a data set are arrays, or all are pairs"),
        ("ijepa-demo", LOADER, {}, "data: is a DataLoader, whose items are batches; pass its data set"),
        ("series-jepa-demo", SERIES[:, :4], {}, "series '0': the number of channels is 4, not 5"),
        ("series-jepa-demo", INFINITE, {}, "series '0': channel 0 has a value that is not a finite float32"),
        ("vjepa-demo", IMAGES, {}, r"data: shape \(24, 32, 32, 3\) is that of one record; the first axis"),
        ("ecg-jepa-demo", SERIES, {}, r"leads: pass the names of the rows of each ECG, such as leads=\['I'"),
        ("ecg-jepa-demo", SERIES, {"leads": LEADS}, "fs: pass the sampling rate of the ECGs in Hz, such as fs=500"),
        ("ecg-jepa-demo", SERIES, OF_ECGS, r"signals\[0\]: shape \(5, 300\) does not match the 12 leads"),
        (
            "perturb-demo",
            SERIES[:, 0],
            {},
            "data: training on cells needs AnnData, which names genes",
        ),
    ],
)
def test_records_that_do_not_fit_are_one_line(recipe, data, options, message, tmp_path: Path) -> None:
    with pytest.raises(anyjepa.InputError, match=rf"^{message}") as caught:
        anyjepa.pretrain(recipe, data, tmp_path / "run", edits=BRIEF[:4], **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
