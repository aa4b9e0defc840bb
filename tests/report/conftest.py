"""A small run folder with every part that the report draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

CLASSES = ("normal", "AF", "LBBB")


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
    (folder / "results" / "linear.json").write_text(json.dumps(result()))
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
    features = rng.normal(size=(60, 8))
    np.savez(folder / "artifacts" / "embedding.npz", features=features, labels=np.resize(CLASSES, 60))
    return folder


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "repeats": 5}


def result(encoder: float = 0.93, control: float = 0.84) -> dict:
    """What an evaluation writes."""
    return {
        "title": "Linear probe, diagnosis",
        "systems": [
            {
                "name": name,
                "metrics": {"macro_auroc": interval(value)},
                "per_class": {label: interval(value) for label in CLASSES},
                "difference": None if name == "this encoder" else interval(encoder - control),
            }
            for name, value in (("this encoder", encoder), ("random initialisation", control))
        ],
    }
