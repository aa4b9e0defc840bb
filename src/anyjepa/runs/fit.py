"""Pretrain on records in memory in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyjepa.recipes.schema import Edits
from anyjepa.runs.model import Model, load
from anyjepa.runs.pretrain import pretrain


def fit(
    data: Any,
    *,
    recipe: str | Path = "ecg-jepa-demo",
    edits: Edits = (),
    labels: Any = None,
    groups: Any = None,
    ids: Any = None,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    output: Path | str | None = None,
    progress: bool | None = None,
) -> Model:
    """Pretrain on records in memory, and return the trained model: `pretrain`, then `load`.

    data: an array whose first axis is the records, a list of arrays, AnnData or a `torch.utils.data.Dataset`. ECGs are
        (leads, samples) each, with the leads of the recipe; edits=["data.leads=[I, II]"] trains on fewer.

    The other arguments are those of `pretrain`. Raises InputError for wrong input.
    """
    run = pretrain(
        recipe,
        data,
        output,
        edits=edits,
        labels=labels,
        groups=groups,
        ids=ids,
        fs=fs,
        leads=leads,
        unit=unit,
        progress=progress,
    )
    return load(run.folder)
