"""A run folder: where a run may start, and what a run, its data and its model look like in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import anyjepa
from anyjepa.data.dataset import ArrayDataset
from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.source import training_data
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import Run, check_unused, environment

EMPTY = ("environment.json", "recipe.yaml", ".lock", "artifacts/masks.npz")


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "checkpoints").mkdir()
    return folder


@pytest.mark.parametrize("names", [(), ("environment.json",), EMPTY, (*EMPTY, "split.csv", "training_records.json")])
def test_a_run_that_made_no_step_is_started_again(names: tuple[str, ...], tmp_path: Path) -> None:
    folder = made(tmp_path, *names)
    if len(names) < 2:
        (folder / "checkpoints").rmdir()
    check_unused(folder)


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        ((*EMPTY, "metrics.csv"), "a run ended here before its first checkpoint; delete the folder, or pass another"),
        ((*EMPTY, "metrics.csv", "checkpoints/step-00000002.ckpt"), "is not empty; .* or resume that run"),
        ((*EMPTY, "checkpoints/step-00000002.ckpt"), "is not empty"),
        ((*EMPTY, "model/config.json"), "is not empty"),
        (("recipe.yaml",), "is not empty"),  # it may be the user's
        (("notes.txt",), "is not empty"),
    ],
)
def test_nothing_else_is_written_over(names: tuple[str, ...], advice: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(anyjepa.InputError, match=f"^{tmp_path}: {advice}"):
        check_unused(tmp_path)


def test_objects_are_shown_on_one_line(tiny_run: Path) -> None:
    run = Run(tiny_run, load_recipe(tiny_run / "recipe.yaml")[0])
    assert repr(run) == f"Run('{tiny_run}', recipe tiny)"
    assert repr(anyjepa.load(run)) == f"Model('{tiny_run}/model', vit, ecg of 12 x 400 -> 16)"
    values = ArrayDataset.of(np.zeros((3, 1, 4)), None, labels=["a", "b", "a"])
    assert repr(values) == "ArrayDataset(3 records, tasks class)"


def test_a_record_must_be_left_to_train_on() -> None:
    config = EcgDataConfig.model_validate({"simulator": {"patients": 4, "fs": 100, "duration_s": 10}, "fs": 100})
    ids = training_data(config, []).ids
    with pytest.raises(anyjepa.InputError, match=f"^all {len(ids)} records are excluded; none is left to train on"):
        training_data(config, [], ids)


def test_the_command_is_the_one_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/src/anyjepa/__main__.py", "pretrain", "ijepa-demo"])  # python -m anyjepa
    assert environment()["command"] == "anyjepa pretrain ijepa-demo"
