"""Precision of the computations of a run."""

from __future__ import annotations

from typing import Literal

import torch

from anyjepa.training.config import Precision


def of_machine(precision: Precision) -> Literal["32", "bf16"]:
    """What `auto` is on this machine: bf16 on CUDA and on CPUs with AVX512-BF16 or AMX, and float32 elsewhere."""
    if precision != "auto":
        return precision
    cuda = torch.cuda.is_available()
    fast_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else _cpu_multiplies_bf16()
    return "bf16" if fast_bf16 else "32"


def lightning_precision(precision: Precision) -> str:
    """Name of the precision for Lightning's Trainer; bf16 is autocast."""
    return {"32": "32-true", "bf16": "bf16-mixed"}[of_machine(precision)]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Context in which networks compute in this precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=of_machine(precision) == "bf16")


def _cpu_multiplies_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # PyTorch has no public API for this
    return any(getattr(torch.cpu, check, bool)() for check in checks)
