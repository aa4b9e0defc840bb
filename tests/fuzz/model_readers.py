"""Recipes, runs, model folders and checkpoints of other programs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from data_readers import pixels
from reader import shown

from anyjepa.errors import InputError


def build_recipes(folder: Path, data: Path | None) -> None:
    from conftest import TINY

    from anyjepa.recipes.plain import flat, recipe_names
    from anyjepa.recipes.schema import load_recipe, to_yaml

    for name in (
        "ecg-jepa-xs-2lead",
        "ijepa-demo",
        "perturb-demo",
        "series-jepa-demo",
        "vjepa-demo",
        "ecg-nepa-demo",
        "two-modality-demo",
    ):
        assert name in recipe_names()
        recipe = load_recipe(name)[0]
        (folder / name).mkdir(parents=True)
        (folder / name / "recipe.yaml").write_text(to_yaml(recipe))
        edits = [f"{key}={json.dumps(value)}" for key, value in flat(recipe.model_dump(mode="json")).items()]
        (folder / name / "edits.sets").write_text("\n".join(edits[:: len(edits) // 3]) + "\n")
    (folder / "tiny").mkdir()
    (folder / "tiny" / "recipe.yaml").write_text(TINY)
    (folder / "tiny" / "edits.sets").write_text("training.steps=3\ndata.fs=250\nobjective.masks.kind=spans\n")
    (folder / "based").mkdir()
    (folder / "based" / "recipe.yaml").write_text(
        "base: ijepa-demo\nname: x\ntraining: {steps: 1000}\ndata: {side: 16}\n"
    )
    (folder / "based" / "edits.sets").write_text("data.side=32\nevaluation.seeds=2\n")


def recipes(folder: Path) -> Iterator[Any]:
    from anyjepa.recipes.schema import changes, load_recipe, to_yaml

    edits = (folder / "edits.sets").read_bytes().decode("utf-8", "surrogateescape").splitlines()
    recipe, _ = load_recipe(folder / "recipe.yaml", edits)
    yield recipe.model_dump(mode="json")
    changes(recipe.model_dump(mode="json"))
    (folder / "again.yaml").write_text(to_yaml(recipe))
    assert load_recipe(folder / "again.yaml")[0] == recipe


def build_models(folder: Path, data: Path | None) -> None:
    """One small model folder of each modality, and two classifiers."""
    import torch

    from anyjepa.runs.pretrain import pretrain

    torch.manual_seed(0)
    for name, recipe in tiny_recipes().items():
        run = pretrain(recipe, output=folder.parent / "model-run")
        shutil.copytree(run.model, folder / name)
        shutil.rmtree(run.folder)
    add_head(folder / "ecg", folder / "ecg-classifier", exclusive=True)
    add_head(folder / "images", folder / "images-classifier", exclusive=False)


def tiny_recipes() -> dict[str, Any]:
    from anyjepa.recipes.schema import load_recipe

    few = "steps=2 batch_size=4 workers=0 precision='32' optimiser.warmup=1 monitor_every=2 checkpoint_every=1"
    small = "objective.encoder.dim=8 objective.encoder.depth=1 objective.encoder.heads=2"
    predictor = "objective.predictor.depth=1 objective.predictor.heads=2"
    narrow = f"{small} {predictor} objective.predictor.dim=8"
    screen = "genes=60 regulators=12 singles=6 doubles=3 cells=20 controls=40".replace("genes", "data.simulator.genes")
    edits = {
        "ecg": ("ecg-jepa-demo", f"{narrow} data.duration_s=2.5 data.simulator.patients=8 data.simulator.duration_s=5"),
        "images": ("ijepa-demo", f"{narrow} data.simulator.train=16 data.simulator.test=8"),
        "series": ("series-jepa-demo", f"{narrow} data.simulator.series=12"),
        "video": ("vjepa-demo", f"{narrow} data.moving_digits.clips=12"),
        "cells": (
            "perturb-demo",
            f"{small} {predictor} objective.encoder.tokens=4 data.genes=50 data.hidden.steps=2 "
            + screen.replace(" ", " data.simulator."),
        ),
    }
    training = [f"training.{edit}" for edit in few.split()]
    return {name: load_recipe(recipe, [*training, *changes.split()])[0] for name, (recipe, changes) in edits.items()}


def add_head(source: Path, folder: Path, exclusive: bool) -> None:
    """The same encoder with a head that nobody trained."""
    from torch import nn

    from anyjepa.nn.pooling import HeadConfig, TokenHead
    from anyjepa.weights.folder import load_model, save_model
    from anyjepa.weights.model import ClassifierConfig

    loaded = load_model(source)
    head = HeadConfig()
    classifier = ClassifierConfig(
        head=head, classes=("a", "b", "c"), exclusive=exclusive, thresholds=None if exclusive else (0.5, 0.5, 0.2)
    )
    config = loaded.config.model_copy(update={"predictor": False, "other": None, "classifier": classifier})
    width, heads = loaded.encoder.dim, loaded.encoder.config.heads
    parts = nn.ModuleDict({"encoder": loaded.encoder, "head": TokenHead(head, width, heads, 3)})
    save_model(folder, config, parts.state_dict(), loaded.preprocessing, records=loaded.records)


def models(folder: Path) -> Iterator[Any]:
    import anyjepa
    from anyjepa.weights.inspection import inspect_weights, render

    found = inspect_weights(folder)
    shown(render(found))
    yield {key: value for key, value in found.items() if key != "tensors"}
    model = anyjepa.load(folder)
    yield model.preprocessing.model_dump(mode="json")
    raw, how = raw_for(model)
    yield model.embed(raw, **how)
    if model.head is not None:
        yield model.predict_classes(raw, **how).table()
    if (folder / "student.safetensors").exists():
        yield anyjepa.load(folder, "student").embed(raw, **how)


def raw_for(model: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Something that the model could read, if it is not changed too much: a record as short as it may be."""
    preprocessing = model.preprocessing
    if preprocessing.kind == "ecg":
        rng = np.random.default_rng(0)
        return rng.normal(size=(1, len(preprocessing.leads), 500)).astype("f4"), {"fs": 200.0}
    if preprocessing.kind == "images":
        return pixels()[None], {}
    if preprocessing.kind == "video":
        return np.stack([pixels()] * 40)[None], {}
    if preprocessing.kind == "series":
        return np.random.default_rng(0).normal(size=(1, preprocessing.channels, 400)).astype("f4"), {}
    return np.abs(np.random.default_rng(0).normal(size=(1, *preprocessing.size))).astype("f4"), {}


def build_runs(folder: Path, data: Path | None) -> None:
    """A run folder with results of every kind that a report shows."""
    import anyjepa
    from anyjepa.runs.cells.evaluate_perturbations import evaluate_perturbations
    from anyjepa.runs.pretrain import pretrain

    recipes = tiny_recipes()
    evaluation: dict[str, Any] = {"seeds": 1, "bootstrap": 20, "min_count": 1}
    for name in ("ecg", "images"):
        run = pretrain(recipes[name], output=folder / name)
        with suppress(InputError):  # too few records for a task: a run without results is a run, too
            anyjepa.evaluate(run.folder, **evaluation)
    run = pretrain(recipes["cells"], output=folder / "cells")
    evaluate_perturbations(run.folder, seeds=1)
    for path in folder.glob("*/model"):
        shutil.rmtree(path)  # `models` has them
    for path in folder.glob("*/.lock"):
        path.unlink()


def runs(folder: Path) -> Iterator[Any]:
    from anyjepa.report.page import write_report
    from anyjepa.runs.folder import open_run
    from anyjepa.runs.objective import build_objective
    from anyjepa.training.checkpoints import check_checkpoint, newest_checkpoint
    from anyjepa.training.module import Pretraining

    write_report(folder)
    run = open_run(folder)
    run.environment()
    objective = build_objective(run.recipe)
    if newest := newest_checkpoint(folder / "checkpoints"):
        check_checkpoint(newest, Pretraining(objective, run.recipe.training, ()))
    yield from results(folder)


def results(folder: Path) -> Iterator[Any]:
    """Each result on its own, as `evaluate` shows it: the report only notes what it cannot read."""
    from anyjepa.evaluation import result
    from anyjepa.perturbation.scoring import result as perturbation

    refused: InputError | None = None
    kinds: list[tuple[str, Any, Any]] = [
        ("results", result.Result, result.render),
        ("perturbations", perturbation.PerturbationResult, perturbation.render),
    ]
    for place, kind, render in kinds:
        for path in sorted((folder / place).glob("*.json")):
            try:
                shown(render(kind.from_json(path)))
                yield kind.from_json(path).model_dump(mode="json")
            except InputError as error:
                refused = error
    if refused:
        raise refused


GOLDEN = Path(__file__).parent.parent / "golden"


def build_foreign(folder: Path, data: Path | None) -> None:
    from published_layouts import write_layouts

    write_layouts(GOLDEN, folder)
    for name in ("v-jepa-2", "v-jepa-2.1"):  # their clips of 442 frames take too long
        shutil.rmtree(folder / name)
    for name, files in {
        "ecg-jepa-linear": {"weights.pt": "ecg_jepa/eval_fc_best_chkpt.pt"},
        "ecg-jepa-attentive": {"weights.pt": "ecg_jepa/eval_attn_best_chkpt.pt"},
        "nepa-average": {
            file: f"nepa_ecg/{file}" for file in ("config.json", "model.safetensors", "pytorch_model_ema.bin")
        },
        "nepa-image": {file: f"nepa_image/{file}" for file in ("config.json", "model.safetensors")},
        "nepa-classifier": {file: f"nepa_image/cls/{file}" for file in ("config.json", "model.safetensors")},
    }.items():
        (folder / name).mkdir(parents=True)
        for file, source in files.items():
            shutil.copyfile(GOLDEN / source, folder / name / file)


def foreign(folder: Path) -> Iterator[Any]:
    from published_layouts import OPTIONS, source_of

    import anyjepa
    from anyjepa.weights.importers import import_weights
    from anyjepa.weights.inspection import inspect_weights, render

    source = source_of(folder)
    shown(render(inspect_weights(source)))
    made = folder / "model"
    options = OPTIONS["nepa"] if folder.name == "nepa-average" else OPTIONS.get(folder.name, {})
    import_weights(source, made, **options)
    model = anyjepa.load(made)
    raw, how = raw_for(model)
    yield model.embed(raw, **how)
