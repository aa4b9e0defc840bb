"""Shared fixtures. Real records are found through ANYJEPA_TEST_DATA; golden vectors live in tests/golden."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import Cli, run_cli

TINY = """
name: tiny
description: ECG-JEPA in seconds, for the tests
data:
  fs: 100
  duration_s: 4
  simulator: {patients: 44, fs: 100, duration_s: 6}
objective:
  encoder: {patch: [10], dim: 16, depth: 1, heads: 2, registers: 1}
  predictor: {dim: 8, depth: 1, heads: 2}
  masks: {min_span: 3}
training:
  steps: 4
  batch_size: 8
  workers: 0
  precision: "32"
  log_every: 1
  monitor_every: 2
  checkpoint_every: 2
  optimiser: {warmup: 2}
evaluation:
  seeds: 1
  min_count: 1
  bootstrap: 20
  attentive: {fit: {steps: 3, validate_every: 3}}
  finetune: {fit: {steps: 3, warmup: 1, validate_every: 3}}
  supervised: {fit: {steps: 3, warmup: 1, validate_every: 3}}
"""


# Under nohup, or in the background of a shell, processes ignore these; tests send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Numba, below scanpy, would leave torch with a thread per core.
os.environ["NUMBA_NUM_THREADS"] = str(torch.get_num_threads())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ANYJEPA_NO_SKIP set, a run in which any test skipped has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # None in a worker of pytest-xdist
    if os.environ.get("ANYJEPA_NO_SKIP") and reporter and reporter.stats.get("skipped"):
        reporter.ensure_newline()
        reporter.write_line("ANYJEPA_NO_SKIP is set and tests skipped: this run has failed.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """A test leaves the number of threads as it was: with two, later small trainings took five times as long."""
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real records. Tests that use it carry the marker `realdata`."""
    folder = os.environ.get("ANYJEPA_TEST_DATA")
    if not folder:
        pytest.skip("ANYJEPA_TEST_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference vectors."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def cli() -> Cli:
    """The command line as a function: `cli("pretrain", recipe)` gives exit code, output and errors."""
    return run_cli


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that trains in seconds."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny_run(cli: Cli, tiny_recipe: Path) -> Path:
    """A run of `tiny_recipe` on its simulated ECGs. Tests may add results to it, nothing else."""
    folder = tiny_recipe.parent / "run"
    done = cli("pretrain", tiny_recipe, "--output", folder)
    assert done.code == 0, done.err
    return folder
