"""A small run folder with every part that the report draws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from chromium import chromium

from anyjepa.evaluation.calibration import reliability
from anyjepa.evaluation.intervals import Estimate
from anyjepa.evaluation.result import Difference, Parts, Repeat, Result, Row

CLASSES = ("normal", "AF", "LBBB")


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A tab of a real browser."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def result():
    return evaluated


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "demo-run"
    (folder / "results").mkdir(parents=True)
    (folder / "artifacts").mkdir()
    (folder / "recipe.yaml").write_text(
        "name: demo\ndescription: a small one\ndata: {fs: 100, duration_s: 10, leads: [I, II]}\n"
        "objective: {encoder: {dim: 96, depth: 4, heads: 4}}\ntraining: {steps: 20}\n"
    )
    (folder / "environment.json").write_text(json.dumps({"python": "3.11", "machine": {"cores": 2}}))
    rows = [f"{step},{1 / step},{1 / step},0.001,{'' if step % 5 else 0.5},{240 + step}" for step in range(1, 21)]
    head = "step,loss,prediction,lr,teacher_std,samples_per_s"
    (folder / "metrics.csv").write_text("\n".join([head, *rows]) + "\n")
    evaluated().to_json(folder / "results" / "linear.json")
    rng = np.random.default_rng(0)
    np.savez(
        folder / "artifacts" / "masks.npz",
        signal=rng.normal(size=(2, 1000)).astype(np.float32),
        fs=100.0,
        leads=np.array(["I", "II"]),
        context=np.arange(20, 40),
        targets=np.r_[0:20, 40:100],
        patch=10,
    )
    np.savez(
        folder / "artifacts" / "places.npz",
        kind="ecg",
        signals=rng.normal(size=(1, 2, 1000)).astype(np.float32),
        fs=100.0,
        leads=np.array(["I", "II"]),
        patch=10,
        errors=np.linspace(0.1, 0.9, 100)[None],
        colours=rng.integers(0, 256, (1, 100, 3)).astype(np.uint8),
        explained=0.8,
    )
    features = rng.normal(size=(60, 8))
    np.savez(folder / "artifacts" / "embedding.npz", features=features, labels=np.resize(CLASSES, 60))
    return folder


def evaluated(
    encoder: float = 0.93, control: float = 0.84, repeats: int = 5, spread: float = 0.01, **changes: object
) -> Result:
    """What an evaluation writes; every class scores like the macro mean. Bootstrap intervals are .02 each way."""
    gain = encoder - control
    rows = tuple(
        Row(
            name=name,
            control=place > 0,
            weights="random" if place else "teacher",
            transductive=False,
            repeats=(Repeat(seed=0, fold=0, metrics={}, class_metrics={}, chosen={}),) * repeats,
            metrics={"macro_auroc": _around(value, repeats, spread)},
            class_metrics={"auroc": dict.fromkeys(CLASSES, _around(value, repeats, spread))},
            reliability=reliability(np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.6, value])),
        )
        for place, (name, value) in enumerate({"this encoder": encoder, "random init": control}.items())
    )
    result = Result(
        task="rhythm",
        data="60 ECGs",
        protocol="linear",
        settings={"low_shot": None},
        exclusive=True,
        classes=dict.fromkeys(CLASSES, 20),
        dropped={},
        unscored={},
        records=60,
        groups=60,
        unlabelled=0,
        absent=0,
        parts=Parts(records=(36, 9, 15), groups=(36, 9, 15)),
        rows=rows,
        differences=(
            Difference(
                minus="random init",
                metric="macro_auroc",
                estimate=_around(gain, repeats, spread),
            ),
        ),
        notices=(),
        environment={},
    )
    return result.model_copy(update=changes)


def _around(mean: float, repeats: int, spread: float) -> Estimate:
    low, high = (mean - spread, mean + spread) if repeats > 1 else (None, None)
    return Estimate(mean, low, high, repeats, bootstrap=(mean - 0.02, mean + 0.02))
