"""Predictions as AnnData, for scanpy and other tools. Needs the extra `[cells]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.cells.screen import SCALE, Labels, Screen
from anyjepa.errors import InputError
from anyjepa.perturbation.predictions.counts import SampledCells
from anyjepa.perturbation.predictions.predict import UNIT, PredictedConditions
from anyjepa.perturbation.scoring.effects import Effects, Fit, Prediction
from anyjepa.versions import versions

if TYPE_CHECKING:
    from anndata import AnnData


def to_anndata(
    predicted: PredictedConditions, counts: np.ndarray | None = None, provenance: Mapping[str, str] | None = None
) -> AnnData:
    """Convert to AnnData with one row per condition: X is the predicted mean, log1p of counts per 10,000.

    The layers are `change`, `low` and `high` if there are intervals, and `measured` changes, NaN where there are none.
    counts: (T, G) for the layer `counts`, as returned by `expected_counts`. obs has `condition`, the context if there
    are several, `perturbations` (their number), `level` (coverage of the intervals) and `no_interval` (why there is
    none); var has the genes. uns["anyjepa"] has the unit, versions, and `provenance`, the caller's notes on method and
    data. Raises InputError without anndata, or for counts of a different shape.
    """
    prediction, shape = predicted.prediction, predicted.prediction.change.shape
    if counts is not None and counts.shape != shape:
        raise InputError(f"counts have shape {counts.shape}, but the predictions have shape {shape}")
    measured = None if predicted.measured is None else predicted.measured.change
    low, high = prediction.low, prediction.high
    layers = {"change": prediction.change, "low": low, "high": high, "counts": counts, "measured": measured}
    columns = {
        "condition": np.array(predicted.conditions, object),
        **({predicted.label: np.array(predicted.contexts, object)} if predicted.contexts else {}),
        "perturbations": list(map(len, predicted.perturbed)),
        **({"level": prediction.level} if prediction.level else {}),
        **({"no_interval": np.array(prediction.why, object)} if prediction.why else {}),
    }
    return _anndata(predicted.expression, predicted.genes, predicted.names, columns, layers, provenance)


def cells_to_anndata(cells: SampledCells, provenance: Mapping[str, str] | None = None) -> AnnData:
    """Convert to AnnData with one row per cell: X is log1p of counts per 10,000; obs has `condition` and `library`."""
    values = np.log1p(cells.counts * (SCALE / cells.library)[:, None])
    columns = {"condition": cells.condition, "library": cells.library}
    names = [f"cell{i}" for i in range(len(values))]
    return _anndata(values, cells.genes, names, columns, {"counts": cells.counts}, provenance)


def screen_to_anndata(screen: Screen) -> AnnData:
    """Convert a screen with counts, such as a simulated one, to AnnData with one row per cell.

    X is log1p of counts per 10,000, with a layer of counts; obs has `perturbation` and the cell type, batch and donor
    where they are known. Doses and times are part of the names of perturbations. Raises InputError without counts.
    """
    cells = np.arange(len(screen))
    columns = {"perturbation": np.array([str(one) for one in screen.conditions], object)[screen.condition]}
    for name in ("cell_type", "batch", "donor"):
        labels: Labels | None = getattr(screen, name)
        if labels is not None:
            columns[name] = np.array(labels.names, object)[labels.codes]
    layers = {"counts": screen.counts(cells)}
    return _anndata(screen.rows(cells), screen.genes, screen.ids, columns, layers, None)


def to_cell_eval(splits: Sequence[Effects], fit: Fit) -> dict[str, tuple[AnnData, AnnData]]:
    """Held-out predictions of a method and the real cells, as cell-eval reads them: a pair of AnnData by name.

    X is log1p; obs has `perturbation`, with the control called 'control'. Predicted cells are control cells, each
    shifted by the predicted change. Splits with the same controls and genes make one pair, called 'all'; others, such
    as unseen cell types, make one pair each. Conditions without a prediction are left out. Raises InputError for data
    without cells, and if nothing is predicted.
    """
    parts: list[tuple[Effects, np.ndarray]] = []
    for split in splits:
        test = split.held_out
        change = Prediction.of(fit(split.train)(test.perturbed, test.control)).change
        if test.cells is None:
            raise InputError("cell-eval needs the cells of each condition")
        parts.append((test, change))
    shared = len(parts) > 1 and all(
        test.genes == parts[0][0].genes and (test.control == parts[0][0].control[0]).all() for test, _ in parts
    )
    groups = {"all": parts} if shared or len(parts) == 1 else {t.conditions[0]: [(t, c)] for t, c in parts}
    pairs = {name: _cell_eval_pair(group) for name, group in groups.items()}
    if not any(pairs.values()):
        raise InputError("cell-eval: the method predicts none of the held-out conditions")
    return {name: pair for name, pair in pairs.items() if pair}


def _cell_eval_pair(parts: Sequence[tuple[Effects, np.ndarray]]) -> tuple[AnnData, AnnData] | None:
    real, predicted, names = [], [], []
    controls = np.empty(0)
    for test, changes in parts:
        for name, change in zip(test.conditions, changes, strict=True):
            if np.isfinite(change).all() and test.cells is not None:
                cells, controls = test.cells(name)
                real.append(cells)
                predicted.append(np.maximum(controls + change, 0))
                names.append(name)
    if not names:
        return None
    genes = parts[0][0].genes

    def adata(groups: Sequence[np.ndarray]) -> AnnData:
        label = np.repeat(np.array(["control", *names], object), [len(controls), *map(len, groups)])
        ids = [f"cell{i}" for i in range(len(label))]
        return _anndata(np.concatenate([controls, *groups]), genes, ids, {"perturbation": label}, {}, None)

    return adata(predicted), adata(real)


def _anndata(
    values: np.ndarray,
    genes: Sequence[str],
    names: Sequence[str],
    columns: dict[str, Any],
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

    texts = [name for name, column in columns.items() if np.asarray(column).dtype.kind == "O"]
    columns = columns | {name: Categorical(columns[name], text(list(dict.fromkeys(columns[name])))) for name in texts}
    obs = DataFrame(columns, index=text(names))
    adata = AnnData(values.astype(np.float32), obs=obs, var=DataFrame(index=text(genes)))
    for name, layer in layers.items():
        if layer is not None:
            adata.layers[name] = layer.astype(np.float32)
    adata.uns["log1p"] = {"base": None}  # how scanpy records natural logarithms
    adata.uns["anyjepa"] = {"unit": UNIT, **versions(), **(provenance or {})}
    return adata
