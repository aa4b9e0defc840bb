"""Read a screen, predict perturbations that were not measured, and write them to files for biologists."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anyjepa.errors import DataWarning, InputError
from anyjepa.objectives.base import Weights
from anyjepa.perturbation.config import PerturbationConfig
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.ensembles import calibrated, ensemble
from anyjepa.perturbation.methods.pretrained import heads_after
from anyjepa.perturbation.predictions.counts import Noise, sample_cells
from anyjepa.perturbation.predictions.export import cells_to_anndata, to_anndata
from anyjepa.perturbation.predictions.predict import PredictedConditions, predict_conditions, table
from anyjepa.perturbation.predictions.ranking import Goal, rank_candidates
from anyjepa.perturbation.predictions.synergy import synergy
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict
from anyjepa.runs.cells.inputs import open_screen
from anyjepa.runs.embed import refuse_input_as_output, write_table
from anyjepa.torch_defaults import torch_defaults
from anyjepa.writing import replacing

if TYPE_CHECKING:
    from pandas import DataFrame

TABLES = (".csv", ".parquet")


@torch_defaults()
def perturb_files(
    model: str | Path,
    data: Sequence[Path],
    output: Path,
    *,
    conditions: Sequence[str] = (),
    goal: Goal | None = None,
    cells: int | None = None,
    noise: Noise | None = None,
    synergies: Path | None = None,
    level: float = 0.8,
    weights: Weights | None = None,
    file: Sequence[str] = (),
) -> int:
    """Fit the heads to every condition of a screen, and write predictions of others. Returns the number of rows.

    conditions: names such as 'A' or 'A+B'. Predictions are written to an .h5ad file with one row per condition and
    intervals (with `cells`: that many sampled cells per condition, drawn with `noise`), or to a .csv or .parquet table
    with one row per condition and gene. goal: rank all single perturbations and pairs, and write them to a table.
    synergies: path of another table, for the combinations among the conditions. file: 'key=value' settings for reading
    the file. Raises InputError, also for a screen with doses or times, which the heads ignore.
    """
    outputs = [output, *([synergies] if synergies else [])]
    _check(outputs, [*data, Path(model)], conditions, goal, cells)
    if noise is not None and cells is None:
        raise InputError("perturb: --noise is for predicted cells; pass --cells N")
    inputs = open_screen(model, data, weights, file, "perturb")
    for path in outputs:
        refuse_input_as_output(path, inputs.paths)
    if inputs.screen.has_amounts:
        raise InputError(f"{inputs.screen.source}: has doses or times, which `perturb` cannot predict")
    if cells is not None and inputs.screen.library is None:
        raise InputError(f"{inputs.screen.source}: has only log1p values; --cells needs raw counts")
    measured = inputs.model.preprocessing.fit(inputs.screen)
    train = effects_of(measured, ()).train
    config = (inputs.run.recipe.perturbation if inputs.run else None) or PerturbationConfig()
    fits = heads_after(train, inputs.model.encoder, config.components, config.head, config.seeds)
    if goal is not None:
        return _write(output, rank_candidates(ensemble(fits)(train), train, goal))
    predict, predicted = _predict(fits, level, train, conditions)
    if synergies is not None:
        several = [name for name, one in zip(predicted.conditions, predicted.perturbed, strict=True) if len(one) > 1]
        if not several:
            raise InputError(f"{synergies}: none of the conditions is a combination, so there is no synergy to compute")
        _write(synergies, synergy(predict, train, several).scores)
    if output.suffix in TABLES:
        return _write(output, table(predicted))
    provenance = {"model": str(model), "level": f"{level:g}"}
    if cells is None:
        adata = to_anndata(predicted, provenance=provenance)
    else:
        controls = measured.controls
        assert measured.library is not None, "checked before"
        around = noise or "poisson"
        drawn = sample_cells(predicted, measured.rows(controls), measured.library[controls], cells, noise=around)
        adata = cells_to_anndata(drawn, provenance | {"noise": around})
    with replacing(output) as new:
        adata.write_h5ad(new)
    return adata.n_obs


def _predict(
    fits: list[Fit], level: float, train: Effects, conditions: Sequence[str]
) -> tuple[Predict, PredictedConditions]:
    """Predict with intervals; without them, after a DataWarning, if too few conditions of that kind were measured."""
    predict = calibrated(fits, level)(train)
    try:
        return predict, predict_conditions(predict, train, conditions)
    except InputError as error:
        predict = ensemble(fits)(train)
        predicted = predict_conditions(predict, train, conditions)  # raises if the conditions themselves are wrong
        warnings.warn(DataWarning(f"without intervals: {error}"), stacklevel=3)
        return predict, predicted


def _check(
    outputs: Sequence[Path], data: Sequence[Path], conditions: Sequence[str], goal: Goal | None, cells: int | None
) -> None:
    if bool(conditions) == (goal is not None):
        raise InputError("perturb: pass either conditions to predict, or --up and --down")
    for place, path in enumerate(outputs):
        allowed = TABLES if goal is not None or place else (".h5ad", *TABLES)
        if path.suffix not in allowed:
            raise InputError(f"{path}: must end in {', '.join(allowed)}")
        refuse_input_as_output(path, data)
    if goal is not None and len(outputs) > 1:
        raise InputError("perturb: --synergy needs conditions, and cannot be combined with --up and --down")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError(f"{outputs[0]}: is used for both --output and --synergy; choose two files")
    if cells is not None and outputs[0].suffix != ".h5ad":
        raise InputError(f"{outputs[0]}: predicted cells can only be written to .h5ad files")


def _write(output: Path, rows: DataFrame) -> int:
    rows.attrs.clear()  # parquet would keep them as JSON
    write_table(output, rows)
    return len(rows)
