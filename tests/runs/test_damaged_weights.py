"""One huge weight: every command ends in one line and writes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate


def damage(folder: Path, ending: str) -> None:
    """One value of the first tensor whose name has this ending becomes 3e38."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith(("encoder.", "head.")) and name.endswith(ending))
    tensors[name] = tensors[name].copy()
    tensors[name].flat[0] = 3e38
    save_file(tensors, path)  # as another program would, without a checksum


@pytest.fixture
def records(tmp_path: Path) -> Path:
    signals = np.stack([r.signal for r in simulate(SimulatorConfig(patients=2, fs=100, duration_s=6))])
    np.savez(tmp_path / "two.npz", signals=signals, fs=100, leads=LEADS, unit="mV", ids=["r0", "r1"])
    return tmp_path / "two.npz"


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_run / "model", tmp_path / "run" / "model")
    for name in ("recipe.yaml", "environment.json"):
        shutil.copy(tiny_run / name, tmp_path / "run")
    return tmp_path / "run"


SAID = r"the model's output is NaN or infinite; weight '.*fc1\.weight' has a value of magnitude 3e\+38"


def test_embed(cli, run: Path, records: Path, tmp_path: Path) -> None:
    damage(run / "model", "fc1.weight")
    done = cli("embed", run, records, "-o", tmp_path / "out.csv")
    assert (done.code, done.out, (tmp_path / "out.csv").exists()) == (2, "", False)
    assert done.err.startswith("anyjepa: records 'r0', 'r1': the model's output is NaN or infinite; weight 'transf")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("protocol", ["linear", "attentive"])
def test_evaluate(run: Path, protocol: str) -> None:
    damage(run / "model", "fc1.weight")
    with pytest.raises(anyjepa.InputError, match=SAID):
        anyjepa.evaluate(run, protocol=protocol)
    assert not list(run.glob("results/*.json"))


def test_predict(cli, run: Path, records: Path, tmp_path: Path) -> None:
    """A head that overflows gives probabilities of 0 and 1 that look certain."""
    anyjepa.evaluate(run, save_classifier=tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", tmp_path / "head")
    damage(tmp_path / "kept", "fc1.weight")
    damage(tmp_path / "head", "weight")
    for folder in ("kept", "head"):
        done = cli("predict", tmp_path / folder, records, "-o", tmp_path / "out.csv", "--windows", tmp_path / "w.csv")
        assert (done.code, (tmp_path / "out.csv").exists(), (tmp_path / "w.csv").exists()) == (2, False, False)
        assert "has a value of magnitude 3e+38" in done.err
