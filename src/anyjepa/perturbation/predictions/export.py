"""Predictions as AnnData, for scanpy and other tools. Needs the extra `[cells]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.cells.screen import SCALE
from anyjepa.errors import InputError
from anyjepa.perturbation.predictions.counts import SampledCells
from anyjepa.perturbation.predictions.predict import UNIT, PredictedConditions
from anyjepa.versions import versions

if TYPE_CHECKING:
    from anndata import AnnData


def to_anndata(
    predicted: PredictedConditions, counts: np.ndarray | None = None, provenance: Mapping[str, str] | None = None
) -> AnnData:
    """Convert to AnnData with one row per condition: X is the predicted mean, log1p of counts per 10,000.

    The layers are `change`, and `low` and `high` if there are intervals.
    counts: (T, G) for the layer `counts`, as returned by `expected_counts`. obs has `condition` and `perturbations`
    (their number); var has the genes. uns["anyjepa"] has the unit, versions, and `provenance`, the caller's notes on
    method and data. Raises InputError without anndata, or for counts of a different shape.
    """
    prediction, shape = predicted.prediction, predicted.prediction.change.shape
    if counts is not None and counts.shape != shape:
        raise InputError(f"counts have shape {counts.shape}, but the predictions have shape {shape}")
    layers = {"change": prediction.change, "low": prediction.low, "high": prediction.high, "counts": counts}
    columns = {
        "condition": np.array(predicted.conditions, object),
        "perturbations": list(map(len, predicted.perturbed)),
    }
    return _anndata(predicted.expression, predicted.genes, predicted.conditions, columns, layers, provenance)


def cells_to_anndata(cells: SampledCells, provenance: Mapping[str, str] | None = None) -> AnnData:
    """Convert to AnnData with one row per cell: X is log1p of counts per 10,000; obs has `condition` and `library`."""
    values = np.log1p(cells.counts * (SCALE / cells.library)[:, None])
    columns = {"condition": cells.condition, "library": cells.library}
    names = [f"cell{i}" for i in range(len(values))]
    return _anndata(values, cells.genes, names, columns, {"counts": cells.counts}, provenance)


def _anndata(
    values: np.ndarray,
    genes: Sequence[str],
    names: Sequence[str],
    columns: Mapping[str, Any],
    layers: Mapping[str, np.ndarray | None],
    provenance: Mapping[str, str] | None,
) -> AnnData:
    """Text is stored as `object`, because anndata 0.12 cannot write the strings of pandas 3."""
    try:
        from anndata import AnnData
    except ImportError as error:
        raise InputError("AnnData needs the anndata package: pip install 'anyjepa[cells]'") from error
    from pandas import Categorical, DataFrame, Index

    def text(entries: Sequence[str]) -> Index:
        return Index(np.array(entries, object), dtype=object)

    kinds = text(list(dict.fromkeys(columns["condition"])))
    obs = DataFrame({**columns, "condition": Categorical(columns["condition"], kinds)}, index=text(names))
    adata = AnnData(values.astype(np.float32), obs=obs, var=DataFrame(index=text(genes)))
    for name, layer in layers.items():
        if layer is not None:
            adata.layers[name] = layer.astype(np.float32)
    adata.uns["log1p"] = {"base": None}  # how scanpy records natural logarithms
    adata.uns["anyjepa"] = {"unit": UNIT, **versions(), **(provenance or {})}
    return adata
