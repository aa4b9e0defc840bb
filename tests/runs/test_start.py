"""A training that starts from weights: what it takes over, what it refuses, and what its model says of it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import anyjepa
from anyjepa.errors import InputError
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.objective import build_objective
from anyjepa.runs.start import find_start

LEARNED = {"objective.encoder.positions": {"kind": "learned"}, "objective.predictor.positions": {"kind": "learned"}}


def objective(tiny_recipe, **edits):
    return build_objective(load_recipe(tiny_recipe, edits)[0])


def test_it_begins_with_the_model_and_says_so(cli, tiny_run, tiny_recipe, tmp_path):
    run = tmp_path / "run"
    more = ["--from", tiny_run, "--set", "data.simulator.seed=5", "--set", "data.duration_s=5"]
    done = cli("pretrain", tiny_recipe, "-o", run, *more)
    assert done.code == 0, done.err
    made = anyjepa.load(run).loaded.provenance
    assert made.start.startswith("tiny, 4 steps on 33 ECGs of 33 patients"), made.start
    assert "| started from | tiny, 4 steps on" in (run / "model/README.md").read_text()
    before, after = anyjepa.load(tiny_run).loaded.records, anyjepa.load(run).loaded.records
    assert set(before.ids) < set(after.ids)  # the test records of the first training are not new to the second
    (run / "checkpoints/step-00000004.ckpt").unlink()
    shutil.rmtree(run / "model")
    weights = (run / "checkpoints/step-00000002.ckpt").read_bytes()
    done = cli("pretrain", tiny_recipe, "-o", run, *more[2:], "--resume")  # without --from
    assert done.code == 0, done.err
    assert (run / "checkpoints/step-00000002.ckpt").read_bytes() == weights
    assert anyjepa.load(run).loaded.provenance.start == made.start
    assert anyjepa.load(run).loaded.records == after


@pytest.mark.parametrize("source", ["model", "checkpoints/step-00000004.ckpt"])
def test_a_model_and_its_last_checkpoint_give_the_same_weights(tiny_run, tiny_recipe, source):
    new = objective(tiny_recipe, **{"training.seed": 9})
    find_start(tiny_run / source).copy_to(new, encoder_only=False)
    saved = load_file(tiny_run / "model/model.safetensors")
    student = load_file(tiny_run / "model/student.safetensors")
    state = new.state_dict()
    for name, tensor in saved.items():
        ours = name if name.startswith("predictor.") else f"target.{name}"
        assert torch.equal(state[ours], tensor), name
    assert all(torch.equal(state[name.replace("encoder.", "student.", 1)], tensor) for name, tensor in student.items())


def test_the_predictor_is_left_out_on_request(tiny_run, tiny_recipe):
    start, deeper = find_start(tiny_run), {"objective.predictor.depth": 2}
    with pytest.raises(InputError, match=r"predictor\.depth is 1, here it is 2; use the same, or pass --encoder-only"):
        start.copy_to(objective(tiny_recipe, **deeper), encoder_only=False)
    start.copy_to(new := objective(tiny_recipe, **deeper), encoder_only=True)
    fresh = objective(tiny_recipe, **deeper)
    for (name, ours), theirs in zip(
        new.predictor.state_dict().items(), fresh.predictor.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (
            ["--set", "objective.encoder.patch=[20]"],
            "its tokens are 10 samples of 12 channels, here they are 20 samples",
        ),
        (["--set", "objective.encoder.heads=4"], "objective.encoder.heads is 2, here it is 4; use the same"),
        (["--set", "data.leads=[II,I,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6]"], "its input 1 is I, here it is II"),
    ],
)
def test_other_networks_and_inputs_are_refused_before_a_run_begins(
    cli, tiny_run, tiny_recipe, tmp_path, edits, message
):
    done = cli("pretrain", tiny_recipe, "-o", tmp_path / "run", "--from", tiny_run, *edits)
    assert (done.code, (tmp_path / "run").exists()) == (2, False), done.err
    assert message in done.err


def test_another_rate_is_a_warning(cli, tiny_run, tiny_recipe, tmp_path):
    done = cli("pretrain", tiny_recipe, "-o", tmp_path / "run", "--from", tiny_run, "--set", "data.fs=50")
    assert done.code == 0, done.err
    assert f"warning: {tiny_run}: a token was 100 ms at 100 Hz, here it is 200 ms" in done.err


def test_unknown_training_records_stay_unknown(tiny_run, tiny_recipe, tmp_path):
    shared = shutil.copytree(tiny_run / "model", tmp_path / "shared")
    (shared / "training_records.json").unlink()
    (tmp_path / "run").mkdir()
    shutil.copy(tiny_run / "training_records.json", tmp_path / "run")  # of a run that ended before its first step
    run = anyjepa.pretrain(tiny_recipe, output=tmp_path / "run", start=shared)
    assert anyjepa.load(run.folder).loaded.records is None
    assert json.loads((run.folder / "environment.json").read_text())["data"]["start"]["model"] == str(shared)


def test_a_checkpoint_of_nobody_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not in the checkpoints of a run; import published ones with"):
        find_start(tmp_path / "x.ckpt")


def test_a_model_is_resized_and_fine_tuned_at_another_resolution(cli, tmp_path):
    few = {"data.simulator.train": 200, "data.simulator.test": 60, "training.steps": 1}
    run = anyjepa.pretrain("ijepa-demo", output=tmp_path / "run", edits=few)
    done = cli("weights", "resize", run.folder, "-o", tmp_path / "large", "--set", "side=48")
    assert done.code == 0, done.err
    small, large = anyjepa.load(run.folder), anyjepa.load(tmp_path / "large")
    assert (large.preprocessing.side, large.encoder.size) == (48, (48, 48))
    assert torch.equal(small.encoder.project.weight, large.encoder.project.weight)
    assert "by side=48; not trained since." in (tmp_path / "large/README.md").read_text()
    images = np.random.default_rng(0).integers(0, 256, (40, 48, 48, 3)).astype(np.uint8)
    fit = {"fit": {"steps": 1, "warmup": 0, "validate_every": 1}}
    settings = {"finetune": fit, "supervised": fit, "min_count": 1, "bootstrap": 0}
    how = {"labels": ["a", "b"] * 20, "protocol": "finetune", "settings": settings, "folds": 2, "seeds": 1}
    assert anyjepa.evaluate(large, images, **how).rows


def test_what_cannot_be_resized_is_one_line(cli, tiny_run, tmp_path):
    for edit, message in (
        ("clip=4", "clip=4 changes neither the size nor the rate of inputs"),
        ("samples=405", "is not a positive multiple of the patch (10,)"),
    ):
        done = cli("weights", "resize", tiny_run, "-o", tmp_path / "model", "--set", edit)
        assert (done.code, list(tmp_path.iterdir())) == (2, []), done.err
        assert message in done.err
