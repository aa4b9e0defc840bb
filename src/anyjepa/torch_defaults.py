"""Set the PyTorch defaults that anyjepa relies on, independent of the calling program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Create new tensors as float32, on the CPU, and with gradients enabled; restore the caller's defaults afterwards.

    Can be used as a decorator: `@torch_defaults()`. Programs change the defaults with `torch.set_default_dtype`,
    `torch.set_default_device`, `torch.device(...)` or `torch.inference_mode()`.
    """
    gradients = torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    torch.set_default_dtype(torch.float32)
    try:
        with gradients, nullcontext() if device.type == "cpu" else torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)
