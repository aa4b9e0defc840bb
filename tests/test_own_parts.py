"""The parts of docs/own-parts.md through the command line: trained, evaluated, reported, resumed and reloaded."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import own_parts
import pytest
import torch
import yaml
from commands import run_cli
from torch import nn

import anyjepa
from anyjepa import parts as own_parts_of_users
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.packing import Layout, Packed
from anyjepa.runs.export import _naming, export

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
def test_a_part_of_the_page_lives_like_one_of_the_package(
    folder: Path, recipe: str, module: str, data: list[str]
) -> None:
    lives(f"{recipe}.yaml", module, *data)
    assert module in (folder / "run/recipe.yaml").read_text()


ENCODER = {"kind": "own_parts.Mixer"}
LINEAR = {"kind": "own_parts.Largest"}
PREDICTOR = {"dim": 8, "depth": 1, "heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "encoder": {"encoder": ENCODER, "predictor": PREDICTOR | {"depth": "x0.5"}},
    "encoder and zeroed tokens": {"encoder": ENCODER, "predictor": {"kind": "dense", "heads": 2}, "hidden": "zeroed"},
    "encoder of next patches": {"kind": "next_embedding", "encoder": ENCODER, "ema": 0.9},
    "encoder of pairs": {"kind": "paired", "encoder": ENCODER, "regulariser": {"kind": "vicreg"}},
    "target": {"target": {"kind": "own_parts.FixedTarget"}},
    "distance": {"distance": {"kind": "own_parts.LogCosh", "scale": 3}},
    "predictor": {"predictor": PREDICTOR | {"kind": "own_parts.Pointwise"}},
    "objective": {"kind": "own_parts.Spread", "encoder": {"kind": "conv", "widths": [8, 16], "blocks": 1}},
    "head": {},
}
VIT = {"encoder": {"patch": [8, 8], "dim": 16, "depth": 1, "heads": 2}, "predictor": PREDICTOR}


def own_recipe(objective: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "own",
        "description": "a part of one's own",
        "data": {"kind": "images", "simulator": {"train": 60, "test": 30}},
        "objective": objective if "kind" in objective else VIT | {"masks": {"kind": "blocks"}} | objective,
        "training": {"workers": 0, "precision": "32", "optimiser": {"warmup": 1}},
        "evaluation": {"min_count": 1, "finetune": {"head": LINEAR, "fit": {"steps": 2, "warmup": 1}}},
    }


@pytest.mark.parametrize(
    "family",
    [family if family in ("encoder", "head") else pytest.param(family, marks=pytest.mark.long) for family in FAMILIES],
)
def test_a_part_of_every_family_lives_like_one_of_the_package(folder: Path, family: str) -> None:
    recipe = own_recipe(FAMILIES[family])
    if family == "encoder of pairs":
        recipe["data"]["augmentation"] = {"flip": 0.5}
    (folder / "own.yaml").write_text(yaml.safe_dump(recipe))
    lives("own.yaml", str(Path(__file__).with_name("own_parts.py")), protocol="finetune" if family == "head" else "knn")


def lives(recipe: str, module: str, *data: str, protocol: str = "linear") -> None:
    """Train, evaluate, report, resume and reload through the command line."""

    def anyjepa_(*words: object) -> str:
        done = run_cli(*words, "--import", module)
        assert done.code == 0, done.err
        return done.out + done.err

    train = ("pretrain", recipe, *data, *SHORT, "--output", "run")
    assert f"--import {module}" in anyjepa_(*train)
    evaluate = ("evaluate", "run", *data, "--protocol", protocol, "--seeds", "1", "--set", "evaluation.bootstrap=0")
    more = ("--save-classifier", "classifier") if protocol == "finetune" else ()
    assert "pretrained" in anyjepa_(*evaluate, *more)
    if more:
        assert "Largest" in Path("classifier/config.json").read_text()
        assert (
            anyjepa.load("classifier").predict_classes(np.zeros((2, 32, 32, 3), np.uint8)).probabilities.shape[0] == 2
        )
    anyjepa_("report", "run")
    assert Path("run/report.html").stat().st_size > 10_000
    first = anyjepa.load("run/model")
    Path("run/checkpoints/step-00000004.ckpt").unlink()
    shutil.rmtree("run/model")
    anyjepa_(*train, "--resume")
    second = anyjepa.load("run/model", device="cpu")
    for one, other in zip(first.encoder.state_dict().values(), second.encoder.state_dict().values(), strict=True):
        assert one.cpu().equal(other)
    assert Path(module).stem in anyjepa_("recipes", recipe)
    assert Path(module).stem in json.loads(Path("run/environment.json").read_text())["parts"]


class Whole(own_parts.Mixer):
    """Its encoder cannot leave tokens out, and has no `embed`."""

    def build(self, channels, size):
        return WholeEncoder(self, channels, size, (4, 4))


class WholeEncoder(Encoder):
    def forward(self, x, *, start=None):
        return Packed(x.new_zeros(16 * len(x), self.dim), Layout(len(x), 16))


class Broken(own_parts.LogCosh):
    def __call__(self, predicted, target):
        return predicted - target[:0]


class Idle(own_parts.Mixer):
    def build(self, channels, size):
        encoder = super().build(channels, size)
        encoder.idle = nn.Parameter(torch.zeros(3))
        return encoder


MINE = f"{__name__}."
CONV = {"kind": "conv", "widths": [8, 16], "blocks": 1}


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            {"encoder": {"kind": MINE + "Whole"}},
            f"{MINE}Whole: its encoder's forward takes no keep and no valid, which says what tokens to leave out",
        ),
        (
            {"encoder": {"kind": MINE + "Whole"}, "predictor": {"kind": "dense", "heads": 2}, "hidden": "zeroed"},
            f"{MINE}Whole: its encoder's forward takes no shown, which says what tokens to leave out",
        ),
        (
            {"kind": "next_embedding", "encoder": {"kind": MINE + "Whole"}},
            f"{MINE}Whole: its encoder has no method embed(x), the patches (B, N, D) before the network",
        ),
        ({"encoder": CONV}, "encoder.kind conv always sees the whole input, so hidden tokens would leak into visible"),
        ({"kind": "next_embedding", "encoder": CONV}, "encoder.kind conv always sees the whole input, so hidden"),
        (
            {"distance": {"kind": MINE + "Broken"}},
            "test_own_parts.py line [0-9]+: a step on random numbers fails: The size of tensor a .* must match",
        ),
        (
            {"encoder": {"kind": MINE + "Idle"}},
            "the loss does not depend on 'student.idle'; use it, or make it a buffer",
        ),
    ],
)
def test_what_a_part_lacks_is_one_line_before_there_is_a_run(
    objective: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own_recipe(objective)))
    with pytest.raises(anyjepa.InputError, match=message.replace("(", "[(]").replace(")", "[)]")) as error:
        anyjepa.pretrain(tmp_path / "own.yaml", output=tmp_path / "run", edits=["training.batch_size=4"])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


class Branching(own_parts.Mixer):
    """Its network depends on the values, which no graph can."""

    def build(self, channels, size):
        return BranchingEncoder(self, channels, size)


class BranchingEncoder(own_parts.MixerEncoder):
    def features(self, x, start=None):
        return super().features(x if x.mean() > 0 else -x)


def test_an_encoder_that_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own_recipe(FAMILIES["encoder"])))
    edits = {"objective.encoder": Branching(), "training.steps": 1, "training.batch_size": 4}
    run = anyjepa.pretrain(tmp_path / "own.yaml", output=tmp_path / "run", edits=edits)
    with pytest.raises(anyjepa.InputError, match=f"export: {MINE}Branching cannot be exported: test_own_parts.py line"):
        export(run.model, tmp_path / "model.pt2")


def test_a_full_disk_is_not_said_to_be_a_fault_of_the_encoder() -> None:
    with pytest.raises(OSError, match=r"^.Errno 28. No space left on device$"), _naming(["my.Encoder"]):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_resumed_run_says_that_its_part_is_missing_or_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = ["--set", "data.simulator.train=30", *SHORT]
    train = ("pretrain", "board.yaml", *edits, "--output", "run")
    assert run_cli(*train, "--import", "my_masks").code == 0
    parts = json.loads(Path("run/environment.json").read_text())["parts"]
    assert parts["my_masks"]["file"] == str(folder / "my_masks.py")
    with monkeypatch.context() as fresh:  # as in another process
        fresh.setattr(own_parts_of_users, "_OWN", {})
        fresh.delitem(sys.modules, "my_masks")
        assert run_cli(*train, "--resume").err.endswith(
            "kind 'my_masks.Checkerboard' is not known; pass --import my_masks (or import my_masks in Python)\n"
        )
    with open("my_masks.py", "a") as file:
        file.write("# changed\n")
    done = run_cli(*train, "--import", "my_masks", "--resume")
    assert done.code == 0
    assert f"warning: {folder}/my_masks.py: has changed since run was started" in done.err


@pytest.mark.long
def test_two_processes_import_the_part(folder: Path) -> None:
    command = ["pretrain", "board.yaml", *SHORT, "--set", "data.simulator.train=30", "--output", "run"]
    words = [sys.executable, "-m", "anyjepa", *command, "--import", "my_masks", "--devices", "2"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert run_cli(*command[:-1], "alone", "--import", "my_masks").code == 0
    two, one = (anyjepa.load(name).encoder.state_dict() for name in ("run", "alone"))
    for name in one:
        torch.testing.assert_close(two[name].cpu(), one[name].cpu(), rtol=1e-3, atol=1e-5)


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
