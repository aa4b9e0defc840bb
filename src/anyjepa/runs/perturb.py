"""A screen in, predictions of perturbations that were not measured out: files for biologists."""

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
from anyjepa.perturbation.predictions.counts import Noise, sample_cells
from anyjepa.perturbation.predictions.export import cells_to_anndata, to_anndata
from anyjepa.perturbation.predictions.predict import Answer, ask, table
from anyjepa.perturbation.predictions.questions import Goal, screen, synergy
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict
from anyjepa.runs.amounts import has_amounts
from anyjepa.runs.embed import refuse_input_as_output, write_table
from anyjepa.runs.perturbations import heads
from anyjepa.runs.screens import asked
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
    """Fit the heads to every condition of a screen, and write what they say of others; returns how many rows.

    conditions: 'A', 'A+B' ... into .h5ad (a row a condition, with intervals; with `cells` so many predicted cells of
    each, drawn with this `noise`) or a table .csv, .parquet (a row a condition and gene). goal: all singles and pairs,
    ranked, into a table. synergies: another table, of the combinations among the conditions. file: 'key=value' edits of
    how the file is read. Raises InputError, also for a screen with doses or times, which a head does not tell apart.
    """
    outputs = [output, *([synergies] if synergies else [])]
    _check(outputs, [*data, Path(model)], conditions, goal, cells)
    if noise is not None and cells is None:
        raise InputError("perturb: --noise is of predicted cells; say how many by --cells")
    question = asked(model, data, weights, file, "perturb")
    for path in outputs:
        refuse_input_as_output(path, question.paths)
    if has_amounts(question.screen):
        raise InputError(f"{question.screen.source}: has doses or times, which perturb's heads do not tell apart")
    if cells is not None and question.screen.library is None:
        raise InputError(f"{question.screen.source}: has log1p values only; --cells draws counts, which need counts")
    measured = question.model.preprocessing.fit(question.screen)
    train = effects_of(measured, ()).train
    config = (question.run.recipe.perturbation if question.run else None) or PerturbationConfig()
    fits = heads(question.model, config, train)
    if goal is not None:
        return _write(output, screen(ensemble(fits)(train), train, goal))
    predict, answer = _answer(fits, level, train, conditions)
    if synergies is not None:
        several = [name for name, one in zip(answer.conditions, answer.perturbed, strict=True) if len(one) > 1]
        if not several:
            raise InputError(f"{synergies}: none of the conditions is a combination, so there is no synergy to tell")
        _write(synergies, synergy(predict, train, several).scores)
    if output.suffix in TABLES:
        return _write(output, table(answer))
    provenance = {"model": str(model), "level": f"{level:g}"}
    if cells is None:
        found = to_anndata(answer, provenance=provenance)
    else:
        controls = measured.controls
        assert measured.library is not None, "checked before"
        around = noise or "poisson"
        drawn = sample_cells(answer, measured.rows(controls), measured.library[controls], cells, noise=around)
        found = cells_to_anndata(drawn, provenance | {"noise": around})
    with replacing(output) as new:
        found.write_h5ad(new)
    return found.n_obs


def _answer(fits: list[Fit], level: float, train: Effects, conditions: Sequence[str]) -> tuple[Predict, Answer]:
    """With intervals, or with a DataWarning without them where too few measured conditions are of that kind."""
    predict = calibrated(fits, level)(train)
    try:
        return predict, ask(predict, train, conditions)
    except InputError as error:
        predict = ensemble(fits)(train)
        answer = ask(predict, train, conditions)  # what is wrong with the conditions themselves is told here
        warnings.warn(DataWarning(f"without intervals: {error}"), stacklevel=3)
        return predict, answer


def _check(
    outputs: Sequence[Path], data: Sequence[Path], conditions: Sequence[str], goal: Goal | None, cells: int | None
) -> None:
    if bool(conditions) == (goal is not None):
        raise InputError("perturb: give conditions to predict, or genes to go --up and --down: one of the two")
    for place, path in enumerate(outputs):
        allowed = TABLES if goal is not None or place else (".h5ad", *TABLES)
        if path.suffix not in allowed:
            raise InputError(f"{path}: is written as {', '.join(allowed)}")
        refuse_input_as_output(path, data)
    if goal is not None and len(outputs) > 1:
        raise InputError("perturb: --synergy is of conditions; a ranking has none")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise InputError(f"{outputs[0]}: is asked for twice, as --output and as --synergy")
    if cells is not None and outputs[0].suffix != ".h5ad":
        raise InputError(f"{outputs[0]}: predicted cells are written as .h5ad")


def _write(output: Path, found: DataFrame) -> int:
    found.attrs.clear()  # parquet keeps them as JSON, and the unit is in the docs
    write_table(output, found)
    return len(found)
