"""Files in, a table of what a classifier says of them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anyjepa.errors import InputError
from anyjepa.runs.classifier import classifier_of, classify
from anyjepa.runs.embed import read_for, refuse_input_as_output, write_table
from anyjepa.runs.model import load

SUFFIXES = (".parquet", ".csv")


def predict_files(
    model: str | Path,
    paths: Sequence[Path],
    output: Path,
    *,
    windows: Path | None = None,
    skip_errors: bool = False,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> tuple[int, dict[str, str]]:
    """Write one row a record (`Predictions.table`); returns how many, and what was skipped with the reason.

    windows: another file, with one row a window. Raises InputError, also for a model without a classifier.
    """
    for place in filter(None, (output, windows)):
        if place.suffix not in SUFFIXES:
            raise InputError(f"{place}: predictions are written as {', '.join(SUFFIXES)}")
        refuse_input_as_output(place, paths)
    if windows is not None and windows.resolve() == output.resolve():
        raise InputError(f"{windows}: is the output, too; give the windows a file of their own")
    loaded = load(model)
    classifier_of(loaded.loaded)
    files = read_for(loaded, paths, skip_errors, fs, leads, unit)
    found = classify(loaded, files.samples)
    table = found.table()
    table.insert(1, files.called, files.groups)
    write_table(output, table)
    if windows is not None:
        write_table(windows, found.window_table())
    return len(files.samples), files.skipped
