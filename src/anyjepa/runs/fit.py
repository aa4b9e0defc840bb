"""Pretrain on arrays in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyjepa.data.modalities import modality_of
from anyjepa.errors import InputError
from anyjepa.recipes.schema import Edits, load_recipe
from anyjepa.runs.model import Model, load
from anyjepa.runs.pretrain import pretrain


def fit(
    signals: Any,
    *,
    fs: float,
    leads: Sequence[str],
    unit: str | float = "mV",
    patients: Sequence[Any] | None = None,
    recipe: str | Path = "ecg-jepa-demo",
    edits: Edits = (),
    output: Path | str | None = None,
    progress: bool = False,
) -> Model:
    """Raw ECGs to a pretrained model: (N, leads, samples) or a list of (leads, samples) arrays.

    fs: Hz; leads: names of the rows; unit: 'mV', 'uV', 'V' or mV per unit; patients: one per record by position, None
    or NaN where unknown (see `from_arrays`); recipe, edits, output: as for `pretrain`.
    The model has the leads of the recipe; fewer with edits=["data.leads=[I, II]"]. Raises InputError for wrong input.
    """
    chosen, _ = load_recipe(recipe, edits)
    modality = modality_of(chosen.data)
    if modality.training_arrays is None:
        raise InputError(f"fit: recipe {chosen.name} trains on {modality.records}, which are read from files only")
    dataset = modality.training_arrays(chosen.data, signals, fs=fs, leads=leads, unit=unit, patients=patients)
    return load(pretrain(chosen, dataset, output, progress=progress).folder)
