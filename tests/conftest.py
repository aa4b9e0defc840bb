"""Shared fixtures. Real records are found through ANYJEPA_TEST_DATA; golden vectors live in tests/golden."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
