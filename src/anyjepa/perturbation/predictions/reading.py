"""Read predictions back from AnnData."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.cells.opening import Opened, open_anndata, open_h5ad
from anyjepa.errors import InputError
from anyjepa.perturbation.predictions.predict import Measured, PredictedConditions
from anyjepa.perturbation.scoring.effects import Prediction

if TYPE_CHECKING:
    from anndata import AnnData


def read_predictions(source: AnnData | Path | str) -> PredictedConditions | None:
    """The predictions in AnnData or in an .h5ad file that `to_anndata` or `anyjepa perturb -o` made.

    Names of conditions contain their context. None if there is no layer `change`, as in the cells of a screen. Raises
    InputError for a file that cannot be read.
    """
    file = isinstance(source, (str, Path))
    opened = open_h5ad(Path(source), "load") if file else open_anndata(source, "AnnData")
    change = _layer(opened, "change")
    if change is None:
        return None
    expression = _values(opened, "X")
    if expression is None:
        raise InputError(f"{opened.where}: has a layer of changes, but no X")
    low, high, measured = (_layer(opened, name) for name in ("low", "high", "measured"))
    unknown = np.full(change.shape, np.nan)
    names = tuple(map(str, opened.obs.index))
    why = opened.obs["no_interval"].astype(str).tolist() if "no_interval" in opened.obs else None
    return PredictedConditions(
        genes=tuple(map(str, opened.var.index)),
        conditions=names,
        perturbed=tuple(frozenset(name.split("+")) for name in names),
        control=expression - change,
        prediction=Prediction(change, low, high, why=why, level=_level(opened)),
        measured=None if measured is None else Measured(measured, unknown, unknown),
    )


def _level(opened: Opened) -> float | None:
    """Coverage of the intervals; None if it is unknown, as in a column `level` of another meaning."""
    from pandas import to_numeric

    levels = np.asarray(to_numeric(opened.obs["level"], errors="coerce") if "level" in opened.obs else [], float)
    return next(iter(levels[np.isfinite(levels)].tolist()), None)


def _layer(opened: Opened, name: str) -> np.ndarray | None:
    return _values(opened, f"layers/{name}")


def _values(opened: Opened, key: str) -> np.ndarray | None:
    if key not in opened.matrices:
        return None
    values = opened.matrices[key]()
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, float)
