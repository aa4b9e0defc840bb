"""Check that the output of a network is finite, before it becomes features, scores and files."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from anyjepa.errors import InputError

LARGE = 1e4
"""Larger than any weight of a trained network."""


def check_finite(outputs: Tensor, names: Sequence[str], network: nn.Module) -> None:
    """Raise InputError if an output (B, ...) is not finite. The message gives names of records and the likely cause."""
    bad = (~outputs.isfinite()).flatten(1).any(1)
    if not bad.any():
        return
    wrong = list(dict.fromkeys(name for name, is_bad in zip(names, bad.tolist(), strict=True) if is_bad))
    more = f" and {len(wrong) - 3} others" if len(wrong) > 3 else ""
    where = f"record{'s' * (len(wrong) > 1)} {', '.join(map(repr, wrong[:3]))}{more}"
    sizes = {name: float(weight.detach().abs().max()) for name, weight in network.named_parameters() if weight.numel()}
    largest = max(sizes, key=lambda name: sizes[name])
    cause = (
        f"weight '{largest}' has a value of magnitude {sizes[largest]:.3g}, so the weights are probably damaged"
        if sizes[largest] > LARGE
        else f"no weight is above {sizes[largest]:.3g}, so the data probably have the wrong scale"
    )
    raise InputError(f"{where}: the model's output is NaN or infinite; {cause}")
