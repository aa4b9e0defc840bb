"""Versions of the software that computes results."""

from __future__ import annotations

from importlib import metadata
from platform import platform, python_version


def versions() -> dict[str, str]:
    """Versions of Python, of the platform and of the packages that compute results."""
    packages = ("anyjepa", "torch", "lightning", "numpy", "scipy")
    return {"python": python_version(), "platform": platform()} | {name: metadata.version(name) for name in packages}
