"""Fix PyTorch's defaults that anyjepa relies on, whatever the calling program has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch


@contextmanager
def torch_defaults() -> Iterator[None]:
    """New tensors are float32, on the CPU and can have gradients unless code says otherwise; the caller's own defaults
    return afterwards.

    Also a decorator: `@torch_defaults()`. Programs change them by `torch.set_default_dtype`, `torch.set_default_device`
    and by working within `torch.device(...)` or `torch.inference_mode()`.
    """
    gradients = torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    torch.set_default_dtype(torch.float32)
    try:
        with gradients, nullcontext() if device.type == "cpu" else torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)
