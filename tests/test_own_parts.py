"""The parts of docs/own-parts.md through the command line: trained, evaluated, reported, resumed and reloaded."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run_cli

import anyjepa

PAGE = (Path(__file__).parents[1] / "docs/own-parts.md").read_text()
PYTHON, YAML = (
    re.findall(rf"`([\w.]+)`:\n\n```{language}\n(.*?)```", PAGE, flags=re.S) for language in ("python", "yaml")
)
SHORT = [
    word
    for edit in ("steps=4", "batch_size=8", "checkpoint_every=2", "monitor_every=2")
    for word in ("--set", f"training.{edit}")
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (*PYTHON, *YAML):
        (tmp_path / name).write_text(text)
    rng = np.random.default_rng(0)
    label = np.arange(120) % 2
    tones = np.sin(np.arange(512) * np.where(label, 0.4, 1.2)[:, None]) + rng.normal(0, 0.3, (120, 512))
    np.savez(tmp_path / "audio.npz", audio=tones, label=label)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.mark.parametrize("name", [name for name, _ in PYTHON])
def test_a_part_takes_less_than_60_lines(name: str) -> None:
    assert sum(bool(line.strip()) for line in dict(PYTHON)[name].splitlines()) < 60


@pytest.mark.long
@pytest.mark.parametrize(
    ("recipe", "module", "data"),
    [("board", "my_masks", []), ("barlow", "my_losses", []), ("audio", "my_audio", ["--data", "audio.npz"])],
)
def test_a_part_lives_like_one_of_the_package(folder: Path, recipe: str, module: str, data: list[str]) -> None:
    def anyjepa_(*words: object) -> str:
        done = run_cli(*words, "--import", module)
        assert done.code == 0, done.err
        return done.out + done.err

    train = ("pretrain", f"{recipe}.yaml", *data, *SHORT, "--output")
    assert f"--import {module}" in anyjepa_(*train, "run")
    assert module in (folder / "run/recipe.yaml").read_text()
    evaluated = anyjepa_("evaluate", "run", *data, "--set", "evaluation.seeds=1", "--set", "evaluation.bootstrap=0")
    assert "pretrained" in evaluated
    anyjepa_("report", "run")
    assert (folder / "run/report.html").stat().st_size > 10_000
    first = anyjepa.load("run/model")
    (folder / "run/checkpoints").joinpath("last.ckpt").unlink(missing_ok=True)
    anyjepa_(*train, "run", "--resume")
    second = anyjepa.load("run/model", device="cpu")
    for one, other in zip(first.encoder.state_dict().values(), second.encoder.state_dict().values(), strict=True):
        assert one.cpu().equal(other)
    assert module in anyjepa_("recipes", f"{recipe}.yaml")


def test_in_python_an_object_or_a_class_stands_for_a_table(folder: Path) -> None:
    sys.path.append(str(folder))
    from my_masks import Checkerboard  # type: ignore[import-not-found]

    from anyjepa.recipes.schema import load_recipe

    for part, size in ((Checkerboard(size=1), 1), (Checkerboard, 2)):
        recipe, _ = load_recipe("ijepa-demo", {"objective.masks": part, "training.steps": 4})
        assert recipe.objective.masks == Checkerboard(size=size)
        assert recipe.training.steps == 4


def test_the_own_modality_leaves_out_what_it_is_asked_to(folder: Path) -> None:
    sys.path.append(str(folder))
    from my_audio import Spectrograms, training_data  # type: ignore[import-not-found]

    paths = [folder / "audio.npz"]
    whole = training_data(Spectrograms(), paths)
    part = training_data(Spectrograms(), paths, exclude=["audio/0", "audio/7"])
    assert part.ids == tuple(id for id in whole.ids if id not in ("audio/0", "audio/7"))
    assert abs(part.values.mean()) < 1e-4  # standardised with statistics of its own
    assert part.tables["class"].values.sum() == len(whole) - 2
    with pytest.raises(anyjepa.InputError, match="records to exclude are not in the data: audio/999"):
        training_data(Spectrograms(), paths, exclude=["audio/999"])
    with pytest.raises(anyjepa.InputError, match="data: training on records reads files only; pass their paths"):
        anyjepa.pretrain("audio.yaml", np.zeros((4, 512)), folder / "run")
