"""A next-embedding model from pretraining to its uses: log, average, fine-tuning, surprise, export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import anyjepa
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.labels import LabelTable
from anyjepa.training.logs import read_metrics
from anyjepa.weights.folder import load_model

FIT = {"steps": 3, "warmup": 1, "validate_every": 3, "precision": "32"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that trains in seconds, with an average."""
    from anyjepa.recipes.schema import load_recipe

    plain = load_recipe("ecg-nepa-demo")[0].model_dump(mode="json")
    plain["name"], plain["data"]["duration_s"] = "tiny-nepa", 4
    plain["data"]["simulator"] = {"patients": 44, "fs": 100, "duration_s": 6}
    plain["objective"]["encoder"] |= {"dim": 16, "depth": 1, "heads": 2}
    plain["objective"]["ema"] = 0.5
    plain["training"] |= {"steps": 4, "batch_size": 8, "precision": "32", "log_every": 1, "monitor_every": 2}
    plain["training"]["checkpoint_every"] = 2
    plain["training"]["optimiser"]["warmup"] = 2
    path = tmp_path_factory.mktemp("nepa") / "tiny-nepa.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


@pytest.fixture(scope="module")
def run(recipe: Path) -> Path:
    return anyjepa.pretrain(recipe, output=recipe.parent / "run").folder


@pytest.fixture(scope="module")
def ecgs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three records of 6 s."""
    records = simulate(SimulatorConfig(patients=3, fs=100, duration_s=6, seed=7))
    path = tmp_path_factory.mktemp("files") / "ecgs.npz"
    np.savez(path, signals=np.stack([r.signal for r in records]), fs=100, leads=np.array(records[0].leads))
    return path


def test_the_log_shows_spread_and_rank_of_patches_and_outputs(run: Path):
    rows = read_metrics(run / "metrics.csv")
    watched = {f"{kind}_{name}" for kind in ("embedding", "output", "student") for name in ("std", "rank")}
    assert watched | {"repeat", "mean", "prediction"} <= rows[-1].keys()
    assert all(np.isfinite(rows[-1][name]) for name in watched)


def test_the_model_is_the_average_and_the_student_stays(run: Path):
    average, student = load_model(run / "model"), load_model(run / "model", "student")
    assert (average.weights, student.weights) == ("average", "student")
    assert not torch.equal(average.encoder.project.weight, student.encoder.project.weight)
    assert "an average over the training steps" in (run / "model" / "README.md").read_text()


def test_a_resumed_run_has_the_same_average(recipe: Path, run: Path, monkeypatch: pytest.MonkeyPatch):
    from anyjepa.objectives.next_embedding import NextEmbeddingPrediction
    from anyjepa.training.module import DivergedError

    broken = recipe.parent / "broken"
    with monkeypatch.context() as patch:
        forward = NextEmbeddingPrediction.begin_step

        def stop(self, step: int, steps: int) -> dict[str, float]:
            if step == 3:
                raise DivergedError("stopped")
            return forward(self, step, steps)

        patch.setattr(NextEmbeddingPrediction, "begin_step", stop)
        with pytest.raises(DivergedError):
            anyjepa.pretrain(recipe, output=broken)
    anyjepa.pretrain(recipe, output=broken, resume=True)
    one, other = (load_model(folder / "model").encoder.state_dict() for folder in (run, broken))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("attention", "causal"), [("bidirectional", False), ("causal", None), ("pretrained", None)])
def test_a_fine_tuned_classifier_keeps_its_attention(run: Path, tmp_path: Path, attention: str, causal: bool | None):
    records = simulate(SimulatorConfig(patients=44, fs=100, duration_s=6))
    split = tuple(("test", "validation", "train", "train")[i % 4] for i in range(len(records)))
    values = np.array([[i // 4 % 2, i // 4 % 2 == 0] for i in range(len(records))])
    groups = tuple(r.group for r in records)
    labels = LabelTable(tuple(r.id for r in records), ("odd", "even"), values, groups, True, split)
    kind = "mean" if attention == "bidirectional" else "last"
    settings = {"attention": attention, "head": {"kind": kind, "bias": True, "norm": 1e-12}, "fit": FIT}
    result = anyjepa.evaluate(
        run, labels=labels, protocol="finetune", save_classifier=tmp_path / "kept", name=attention,
        settings={"bootstrap": 0, "min_count": 0, "seeds": 1, "finetune": settings},
    )  # fmt: skip
    kept = anyjepa.load(tmp_path / "kept")
    classifier = kept.loaded.config.classifier
    assert classifier is not None
    assert classifier.causal is causal
    assert kept.encoder.config.causal is (causal is None)
    found = kept.predict_classes([r.signal for r in records], fs=100).probabilities
    tested = np.array(split) == "test"
    right = (found[tested].argmax(1) == values[tested].argmax(1)).mean()
    assert right == pytest.approx(result.rows[0].repeats[0].metrics["accuracy"])


def test_surprise_on_the_command_line(cli, run: Path, ecgs: Path, tmp_path: Path):
    out, picture = tmp_path / "surprise.parquet", tmp_path / "surprise.svg"
    command = ["predict", run, ecgs, "--unit", "mV", "-o", out]
    done = cli(*command, "--horizon", 2, "--continued", tmp_path / "next.parquet", "--draw", picture)
    assert done.code == 0, done.err
    table = pd.read_parquet(out)
    assert table.groupby("id").size().tolist() == [58] * 3
    assert len(pd.read_parquet(tmp_path / "next.parquet")) == 6
    assert picture.read_text().startswith("<?xml")
    assert "--draw needs --horizon" in cli(*command, "--draw", picture).err
    assert "pass one of them" in cli(*command, "--horizon", 1, "--windows", tmp_path / "w.csv").err
    assert "horizon 99: must be from 1 to 20" in cli(*command, "--horizon", 99).err


def test_settings_of_an_evaluation_on_the_command_line(cli, run: Path):
    command = ["evaluate", run, "--seeds", 1, "--min-count", 0, "--protocol", "knn", "--json"]
    done = cli(*command, "--set", "evaluation.bootstrap=7", "--set", "evaluation.knn.neighbours=3")
    assert done.code == 0, done.err
    assert json.loads(done.out)["settings"]["knn"]["neighbours"] == 3
    assert "settings of an evaluation start with" in cli(*command, "--set", "condition=gene").err
    assert "evaluation" in cli(*command, "--set", "evaluation.knn.k=3").err


def test_import_and_export_on_the_command_line(cli, golden: Path, tmp_path: Path):
    model, folder = tmp_path / "model", tmp_path / "folder"
    assert cli("weights", "import", golden / "nepa_image", "-o", model) == (0, f"model: {model}\n", "")
    assert "does not need --heads" in cli("weights", "import", golden / "nepa_image", "-o", model, "--heads", 4).err
    assert cli("weights", "export", model, "-o", folder) == (0, f"folder: {folder}\n", "")
    assert json.loads((folder / "config.json").read_text())["model_type"] == "vit_nepa"
