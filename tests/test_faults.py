"""Whatever write fails, and whenever a process is killed: what was there stays, and the same command goes on.

A full disk is one line and exit code 2. A kill leaves at most a temporary folder, which the next run removes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults import Faults, contents, in_a_child, killed, no_space

FAULTS = pytest.mark.parametrize(("fail", "code"), [(no_space, 2), (killed, 9)], ids=["full disk", "kill"])


def count(run: Callable[[], object]) -> int:
    with Faults() as faults:
        run()
    assert faults.count > 2
    return faults.count


@pytest.fixture(scope="module")
def ecgs_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate

    made = simulate(SimulatorConfig(patients=3, fs=100, duration_s=6))
    path = tmp_path_factory.mktemp("ecgs") / "ecgs.npz"
    signals = np.stack([one.signal for one in made])
    np.savez(path, signals=signals, fs=100.0, leads=list(made[0].leads), unit="mV", ids=["a", "b", "c"])
    return path


@FAULTS
@pytest.mark.parametrize(
    "kind", ["embeddings", "table", "report", pytest.param("result", marks=pytest.mark.long), "model"]
)
def test_an_output_is_the_old_one_or_the_new_one(
    cli, tiny_run: Path, ecgs_npz: Path, tmp_path: Path, kind: str, fail: Callable[[], None], code: int
) -> None:
    work, new, old = tmp_path / "work", tmp_path / "new", tmp_path / "old"
    commands: dict[str, list[object]] = {
        "embeddings": ["embed", tiny_run, ecgs_npz, "-o", work / "out.npz"],
        "table": ["embed", tiny_run, ecgs_npz, "-o", work / "out.parquet"],
        "report": ["report", work],
        "result": ["evaluate", work, "--seeds", 1, "--min-count", 1],
        "model": ["weights", "checkpoint", work, "--step", 2, "-o", work / "other"],
    }
    for folder in (work, old):
        if kind in ("embeddings", "table"):
            folder.mkdir()
            (folder / "out.npz").write_bytes(b"old")
            (folder / "out.parquet").write_bytes(b"old")
        else:
            shutil.copytree(tiny_run, folder)

    def run() -> int:
        return cli(*commands[kind]).code

    if kind == "result":  # so that only what is written is new
        assert run() == 0
        shutil.copytree(work, old, dirs_exist_ok=True)
    operations = count(run)
    shutil.move(work, new)
    before, after = contents(old), contents(new)
    if kind in ("report", "result"):  # have the time or the path in them
        before, after = (dict.fromkeys(files, b"") for files in (before, after))
    for number in range(operations):
        shutil.copytree(old, work)
        status = in_a_child(commands[kind], Faults(fail, number))
        assert status in (0, code), f"operation {number}: {status}"
        left = {name: content for name, content in contents(work).items() if ".anyjepa-" not in name}
        if kind in ("report", "result"):
            assert all(left[name] for name in left if name.endswith((".json", ".html"))), number
            left = dict.fromkeys(left, b"")
        for name, content in left.items():
            assert content in (before.get(name), after.get(name)), f"operation {number}: {name}"
        assert before.keys() <= left.keys() | after.keys(), f"operation {number}"
        assert run() == 0
        shutil.rmtree(work)


@FAULTS
def test_a_store_goes_on_from_every_operation(
    cli, ecgs_npz: Path, tmp_path: Path, fail: Callable[[], None], code: int
) -> None:
    def prepare(name: str) -> list[object]:
        return ["data", "prepare", ecgs_npz, "-o", tmp_path / name, "--fs", 100, "--workers", 1]

    operations = count(lambda: cli(*prepare("whole")))
    whole = contents(tmp_path / "whole")
    for number in range(operations):
        status = in_a_child(prepare("store"), Faults(fail, number))
        assert status in (0, code), f"operation {number}: {status}"
        if not (tmp_path / "store").exists():
            assert cli(*prepare("store")).code == 0, f"operation {number}"
        assert contents(tmp_path / "store") == whole, f"operation {number}"
        shutil.rmtree(tmp_path / "store")
        shutil.rmtree(tmp_path / "store.part", ignore_errors=True)


@pytest.mark.long
@FAULTS
def test_a_training_goes_on_from_every_operation(
    cli, tiny_recipe: Path, tmp_path: Path, fail: Callable[[], None], code: int
) -> None:
    """Checkpoints, metrics.csv, recipe, environment and model: the run ends as one that nothing ever happened to."""

    def train(folder: Path) -> list[object]:
        resume = ["--resume"] if (folder / "recipe.yaml").exists() else []
        return ["pretrain", tiny_recipe, "-o", folder, *resume]

    def kept(folder: Path) -> dict[str, object]:
        lines = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
        rate = lines[0].index("samples_per_s")
        tensors = (folder / "model/model.safetensors").read_bytes()
        checkpoints = sorted(path.name for path in (folder / "checkpoints").iterdir())
        return {
            "metrics": [row[:rate] + row[rate + 1 :] for row in lines],
            "tensors": tensors,
            "checkpoints": checkpoints,
        }

    operations = count(lambda: cli(*train(tmp_path / "whole")))
    whole = kept(tmp_path / "whole")
    folder = tmp_path / "run"
    for number in range(operations):
        status = in_a_child(train(folder), Faults(fail, number))
        assert status in (0, code), f"operation {number}: {status}"
        assert cli(*train(folder)).code == 0, f"operation {number}"
        assert kept(folder) == whole, f"operation {number}"
        shutil.rmtree(folder)
