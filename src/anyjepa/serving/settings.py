"""The limits of a service and how it batches; imports neither torch nor FastAPI, so that `--help` can show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Limits of a service. These are the defaults of `anyjepa serve`."""

    batch: int = 32  # windows of different requests that are encoded together
    queue: int = 64  # requests that are being read, waiting or being computed
    max_bytes: int = 16 * 10**6  # largest body of a request
    max_windows: int = 512  # most windows of all records of a request
    threads: int | None = None  # for encoding; None: PyTorch's default
