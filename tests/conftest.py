"""Shared fixtures. Real records are found through ANYJEPA_TEST_DATA; golden vectors live in tests/golden."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ANYJEPA_NO_SKIP set, a run in which any test skipped has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")  # None in a worker of pytest-xdist
    if os.environ.get("ANYJEPA_NO_SKIP") and reporter and reporter.stats.get("skipped"):
        reporter.ensure_newline()
        reporter.write_line("ANYJEPA_NO_SKIP is set and tests skipped: this run has failed.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
