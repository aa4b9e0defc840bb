"""Predictions as AnnData, for scanpy and whatever else reads it. Needs the extra `[cells]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.cells.screen import SCALE
from anyjepa.errors import InputError
from anyjepa.perturbation.predictions.counts import SampledCells
from anyjepa.perturbation.predictions.predict import UNIT, Answer
from anyjepa.versions import versions

if TYPE_CHECKING:
    from anndata import AnnData


def to_anndata(
    answer: Answer, counts: np.ndarray | None = None, provenance: Mapping[str, str] | None = None
) -> AnnData:
    """One row a condition: X the predicted mean, log1p of counts per 10,000; layers change, and low and high if known.

    counts: (T, G) for the layer `counts`, as `expected_counts` gives them. obs has `condition` and `perturbations` (how
    many); var is the genes. uns["anyjepa"]: unit, versions, and `provenance`, what the caller says of method and data.
    Raises InputError without anndata, or for counts of another shape.
    """
    prediction, shape = answer.prediction, answer.prediction.change.shape
    if counts is not None and counts.shape != shape:
        raise InputError(f"counts have shape {counts.shape}, the predictions {shape}")
    layers = {"change": prediction.change, "low": prediction.low, "high": prediction.high, "counts": counts}
    columns = {"condition": np.array(answer.conditions, object), "perturbations": list(map(len, answer.perturbed))}
    return _anndata(answer.expression, answer.genes, answer.conditions, columns, layers, provenance)


def cells_to_anndata(cells: SampledCells, provenance: Mapping[str, str] | None = None) -> AnnData:
    """One row a drawn cell: X log1p of counts per 10,000, layer `counts`; obs has `condition` and `library`."""
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
    """Text as `object`: anndata 0.12 does not write that of pandas 3."""
    try:
        from anndata import AnnData
    except ImportError as error:
        raise InputError("AnnData needs the anndata package: pip install 'anyjepa[cells]'") from error
    from pandas import Categorical, DataFrame, Index

    def text(entries: Sequence[str]) -> Index:
        return Index(np.array(entries, object), dtype=object)

    kinds = text(list(dict.fromkeys(columns["condition"])))
    obs = DataFrame({**columns, "condition": Categorical(columns["condition"], kinds)}, index=text(names))
    found = AnnData(values.astype(np.float32), obs=obs, var=DataFrame(index=text(genes)))
    for name, layer in layers.items():
        if layer is not None:
            found.layers[name] = layer.astype(np.float32)
    found.uns["log1p"] = {"base": None}  # what scanpy notes of natural logarithms
    found.uns["anyjepa"] = {"unit": UNIT, **versions(), **(provenance or {})}
    return found
