"""A store stands wherever a folder of records does: inspect, pretrain, evaluate, embed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest

from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.errors import InputError
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.pretrain import pretrain
from anyjepa.training.logs import read_metrics
from anyjepa.weights.folder import load_model


class Place(NamedTuple):
    folder: Path  # of files
    store: Path
    labels: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, cli) -> Place:
    root = tmp_path_factory.mktemp("store")
    recordings = simulate(SimulatorConfig(patients=24, fs=100, duration_s=6))
    (root / "files").mkdir()
    np.savez(
        root / "files" / "all.npz",
        signals=np.stack([r.signal for r in recordings]), fs=100, leads=recordings[0].leads, unit="mV",
        ids=[r.id for r in recordings], patients=[str(r.patient) for r in recordings],
    )  # fmt: skip
    rows = [f"{r.id},{('a', 'b')[number % 2]}" for number, r in enumerate(recordings)]
    (root / "labels.csv").write_text("\n".join(["id,diagnosis", *rows]) + "\n")
    done = cli("data", "prepare", root / "files", "-o", root / "store", "--fs", 100, "--workers", 1)
    assert (done.code, done.out) == (0, f"{root / 'store'}: 24 records\n"), done.err
    return Place(root / "files", root / "store", root / "labels.csv")


def metrics(run: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "samples_per_s"} for row in read_metrics(run / "metrics.csv")]


@pytest.fixture(scope="module")
def run(place: Place, tiny_recipe: Path, cli) -> Path:
    folder = place.store.parent / "run"
    done = cli("pretrain", tiny_recipe, "--data", place.store, "-o", folder)
    assert done.code == 0, done.err
    return folder


def test_training_on_a_store_is_training_on_its_files(place: Place, run: Path, tiny_recipe: Path) -> None:
    other = place.store.parent / "from-files"
    pretrain(tiny_recipe, place.folder, other)
    for stored, memory in zip(metrics(run), metrics(other), strict=True):
        assert stored == pytest.approx(memory, rel=1e-4)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_is_an_unbroken_one(place: Place, tiny_recipe: Path, tmp_path: Path, workers: int) -> None:
    edits = ["data.sampling=time", "training.order=replacement", "training.keep_checkpoints=3"]
    whole = pretrain(tiny_recipe, place.store, tmp_path / "whole", edits=edits)
    again = pretrain(tiny_recipe, place.store, tmp_path / "again", edits=[*edits, f"training.workers={workers}"])
    (again.folder / "checkpoints" / "step-00000004.ckpt").unlink()
    pretrain(tiny_recipe, place.store, again.folder, edits=edits, resume=True)
    weights = [(run.model / "model.safetensors").read_bytes() for run in (whole, again)]
    assert weights[0] == weights[1]


def test_evaluating_and_embedding_a_store(place: Place, run: Path, tmp_path: Path, cli) -> None:
    scores, tables = [], []
    for number, data in enumerate((place.store, place.folder)):
        labels = ("--labels", place.labels, "--id", "id", "--target", "diagnosis", "--folds", 2, "--seeds", 1)
        done = cli("evaluate", run / "model", "--data", data, *labels, "--json")
        assert done.code == 0, done.err
        scores.append(json.loads(done.out)["rows"])
        assert cli("embed", run, data, "-o", tmp_path / f"{number}.csv").code == 0
        tables.append((tmp_path / f"{number}.csv").read_text())
    assert scores[0] == scores[1]
    assert tables[0] == tables[1]


def test_the_model_is_there_before_the_digests_of_its_records(place: Place, tiny_recipe: Path, tmp_path: Path) -> None:
    killed = mock.patch("anyjepa.runs.pretrain.signal_hashes", side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        pretrain(tiny_recipe, place.store, tmp_path / "run")
    assert load_model(tmp_path / "run" / "model").records is None
    pretrain(tiny_recipe, place.store, tmp_path / "run", resume=True)
    records = load_model(tmp_path / "run" / "model").records
    assert records is not None


def test_inspecting_a_store(place: Place, cli) -> None:
    found = [json.loads(cli("data", "inspect", path, "--json").out) for path in (place.store, place.folder)]
    assert found[0] == found[1]


def test_a_changed_store_does_not_resume(place: Place, run: Path, tiny_recipe: Path, tmp_path: Path, cli) -> None:
    assert cli("data", "prepare", place.folder, "-o", tmp_path / "store", "--fs", 100, "--unit", 0.5).code == 0
    with pytest.raises(InputError, match=r"signals of .* have changed since it was started"):
        pretrain(tiny_recipe, tmp_path / "store", run, resume=True)


def test_the_mixture_of_the_paper_names_its_stores(place: Place, tmp_path: Path) -> None:
    recipe = load_recipe("ecg-jepa-xs-all")[0]
    assert recipe.data.mixture is not None
    assert sum(recipe.data.mixture.values()) == 1
    with pytest.raises(InputError, match=r"data must be one folder, which contains the stores mimic-iv-ecg, code-15"):
        pretrain(recipe, output=tmp_path / "run")
    with pytest.raises(
        InputError, match=r"mimic-iv-ecg, .*chapman-shaoxing\. Make each with: anyjepa data prepare FOLDER"
    ):
        pretrain(recipe, place.store.parent, tmp_path / "run")
    assert not (tmp_path / "run").exists()
