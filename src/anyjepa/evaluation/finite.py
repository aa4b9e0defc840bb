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
    damaged = next((name for name, tensor in network.state_dict().items() if not tensor.isfinite().all()), None)
    sizes = {name: float(weight.detach().abs().max()) for name, weight in network.named_parameters() if weight.numel()}
    largest, size = max(sizes.items(), key=lambda item: item[1])
    if damaged:
        cause = f"weight '{damaged}' is NaN or infinite, so training diverged or the weights are damaged"
    elif size > LARGE:
        cause = f"weight '{largest}' has a value of magnitude {size:.3g}, so the weights are probably damaged"
    else:
        cause = f"no weight is above {size:.3g}, so the data probably have the wrong scale"
    raise InputError(f"{where}: the model's output is NaN or infinite; {cause}")
