"""Check where `anyjepa perturb` writes to, before anything is fitted, and write there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anyjepa.data.files import opened
from anyjepa.errors import InputError
from anyjepa.runs.cells.answer_folder import check_only_answer
from anyjepa.runs.table_writing import refuse_input_as_output

if TYPE_CHECKING:
    from anyjepa.perturbation.predictions.counts import Noise
    from anyjepa.runs.cells.answer import Answer

TABLES = (".csv", ".parquet")


def check_files(
    output: Path | None,
    screen: Path | None,
    model: str | None,
    conditions: bool,
    goal: bool,
    cells: int | None,
    noise: bool,
) -> None:
    """Raise InputError for a screen that cannot be read, and an output that would replace an input or does not fit."""
    if screen is not None and not screen.is_dir():  # `perturb` says more about folders
        opened(screen).close()
    if noise and cells is None:
        raise InputError("perturb: --noise is for drawn cells; pass --cells N")
    if cells is not None and (output is None or output.suffix != ".h5ad"):
        raise InputError(f"{output or 'perturb'}: drawn cells can only be written to .h5ad files; pass -o FILE.h5ad")
    if output is None:
        return
    inputs = [*([screen] if screen else []), *([Path(model)] if model else [])]
    refuse_input_as_output(output, inputs)
    if not output.suffix:
        check_only_answer(output)
        return
    if conditions and goal:
        raise InputError(f"{output}: holds either predicted conditions or a ranking; pass a folder for both")
    allowed = TABLES if goal else (".h5ad", *TABLES)
    if output.suffix not in allowed:
        raise InputError(f"{output}: must be a folder, or end in {', '.join(allowed)}")
    if not conditions and not goal:
        raise InputError(f"{output}: a file holds predictions; pass --condition, --up or --down, or a folder as output")


def write_answer(answer: Answer, output: Path, cells: int | None, noise: Noise, cell_eval: bool = False) -> str:
    """Write to a folder or a file, and return what was written in words."""
    if output.suffix:
        return f"{output}: {answer.write_predictions(output, cells, noise)} rows"
    answer.write(output, cell_eval)
    return f"{output}: written"
