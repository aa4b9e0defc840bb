"""Checkpoints of a run as models: the last is the run's model, an earlier one another; what is not there is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import anyjepa
from anyjepa.errors import InputError
from anyjepa.runs.checkpointed import save_checkpointed


def test_the_last_checkpoint_is_the_model_of_the_run(cli, tiny_run, tmp_path):
    done = cli("weights", "checkpoint", tiny_run, "--step", 4, "-o", tmp_path / "last")
    assert (done.code, done.out) == (0, f"model: {tmp_path / 'last'}\n")
    for name in (
        "model.safetensors",
        "student.safetensors",
        "preprocessing.json",
        "training_records.json",
        "config.json",
    ):
        assert (tmp_path / "last" / name).read_bytes() == (tiny_run / "model" / name).read_bytes()


def test_an_earlier_one_has_the_weights_of_its_step(tiny_run, tmp_path):
    saved = torch.load(tiny_run / "checkpoints/step-00000002.ckpt", weights_only=True)["state_dict"]
    folder = save_checkpointed(tiny_run, 2, tmp_path / "early")
    found = load_file(folder / "model.safetensors")
    encoder = {name: tensor for name, tensor in found.items() if name.startswith("encoder.")}
    assert encoder
    assert all(torch.equal(tensor, saved[f"objective.target.{name}"]) for name, tensor in encoder.items())
    student = load_file(folder / "student.safetensors")
    other = load_file(tiny_run / "model/student.safetensors")
    assert any(not torch.equal(student[name], other[name]) for name in student)
    model = anyjepa.load(folder)
    assert model.loaded.provenance.steps == 2
    assert model.encode(torch.zeros(1, 12, 400)).isfinite().all()


def test_what_cannot_become_a_model_is_one_line(cli, tiny_run, tmp_path):
    done = cli("weights", "checkpoint", tiny_run, "--step", 3, "-o", tmp_path / "model")
    assert (done.code, done.out) == (2, "")
    assert "has no checkpoint of step 3; there are: 2, 4 (see training.checkpoint_every" in done.err
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    path = run / "checkpoints/step-00000002.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"step-00000002\.ckpt"):
        save_checkpointed(run, 2, tmp_path / "model")
    shutil.rmtree(run / "model")
    with pytest.raises(InputError, match="is not finished; resume it with pretrain --resume"):
        save_checkpointed(run, 4, tmp_path / "model")
    with pytest.raises(InputError, match="is not a run folder"):
        save_checkpointed(tmp_path, 4, tmp_path / "model")
    assert not (tmp_path / "model").exists()
