"""Precision of the computations of a run."""

from __future__ import annotations

import torch

from anyjepa.training.config import Precision


def lightning_precision(precision: Precision) -> str:
    """Name of the precision for Lightning's Trainer.

    `auto` is bf16 autocast on CUDA and on CPUs with AVX512-BF16 or AMX, and float32 elsewhere.
    """
    if precision == "auto":
        fast_bf16 = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if torch.cuda.is_available()
            else _cpu_multiplies_bf16()
        )
        precision = "bf16" if fast_bf16 else "32"
    return {"32": "32-true", "bf16": "bf16-mixed"}[precision]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Context in which networks compute in this precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=lightning_precision(precision) == "bf16-mixed")


def _cpu_multiplies_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # PyTorch has no public API for this
    return any(getattr(torch.cpu, check, bool)() for check in checks)
