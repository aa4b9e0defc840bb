from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

import anyjepa
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.labels import LabelTable
from anyjepa.runs.model import load
from anyjepa.serving.app import create_app
from anyjepa.serving.service import Service
from anyjepa.serving.settings import Settings


@pytest.fixture(scope="session")
def signals() -> list[np.ndarray]:
    """ECGs of different lengths, 100 Hz."""
    records = simulate(SimulatorConfig(patients=12, fs=100, duration_s=9, seed=5))
    return [record.signal[:, : 400 + 37 * place] for place, record in enumerate(records)]


def saved(run: Path, exclusive: bool, folder: Path) -> Path:
    """A classifier of two classes with calibration."""
    records = simulate(SimulatorConfig(patients=44, fs=100, duration_s=6))  # the tiny recipe's
    ids, groups = ([getattr(record, key) for record in records] for key in ("id", "group"))
    split = [("train", "validation", "validation", "test")[place // 2 % 4] for place in range(44)]
    labels = LabelTable.of_names(ids, ["even", "odd"] * 22, groups, split)
    if not exclusive:
        values = np.stack([labels.values[:, 0], np.arange(44) % 3 == 0], 1)
        labels = replace(labels, classes=("even", "third"), values=values, exclusive=False)
    anyjepa.evaluate(run, labels=labels, min_count=0, bootstrap=0, seeds=1, name="served", save_classifier=folder)
    return folder


@pytest.fixture(scope="session")
def classifier(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that are not exclusive, with calibration."""
    return saved(tiny_run, False, tmp_path_factory.mktemp("serving") / "secret place" / "two-classes")


@pytest.fixture(scope="session")
def exclusive_classifier(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_run, True, tmp_path_factory.mktemp("serving") / "exclusive")


@pytest.fixture(scope="session")
def serve() -> Callable[..., TestClient]:
    def client(model: Path | str, **settings: float) -> TestClient:
        service = Service(load(model, device="cpu"), Path(model).name, Settings(threads=1, **settings))
        return TestClient(create_app(service))

    return client


@pytest.fixture(scope="module")
def client(classifier: Path, serve: Callable[..., TestClient]) -> Iterator[TestClient]:
    with serve(classifier) as client:
        yield client
