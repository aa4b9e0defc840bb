"""Classify files, or score how surprising a next-embedding model finds them, and write a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.samples import SelectedSamples
from anyjepa.errors import InputError
from anyjepa.runs.classifier import check_coverage, classifier_of, classify
from anyjepa.runs.embed import read_for, refuse_input_as_output, write_table
from anyjepa.runs.model import load
from anyjepa.runs.parts import SIZE, Progress, holding, in_parts, key_of, write_parts
from anyjepa.runs.surprise import check_predicts, continuation_table, draw_surprise, surprise_table
from anyjepa.writing import replacing

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".parquet", ".csv")


def predict_files(
    model: str | Path,
    paths: Sequence[Path],
    output: Path,
    *,
    windows: Path | None = None,
    coverage: float | None = None,
    skip_errors: bool = False,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    progress: Progress = lambda done, count: None,
) -> tuple[int, dict[str, str]]:
    """Write one row per record (`Predictions.table`). Returns the number of records, and the reasons for those skipped.

    windows: another file, with one row per window. coverage: see `Predictions.table`.
    Raises InputError, also for a model without a classifier.
    """
    for place in filter(None, (output, windows)):
        if place.suffix not in SUFFIXES:
            raise InputError(f"{place}: predictions are written as {', '.join(SUFFIXES)}")
        refuse_input_as_output(place, paths)
    if windows is not None and windows.resolve() == output.resolve():
        raise InputError(f"{windows}: is the output, too; choose another file for the windows")
    loaded = load(model)
    classifier_of(loaded.loaded)
    if coverage is not None:
        check_coverage(loaded.loaded.calibration, coverage)
    samples = read_for(loaded, paths, skip_errors, fs, leads, unit)
    groups = np.array(samples.known_groups)

    def compute(some: range) -> tuple[pd.DataFrame, pd.DataFrame]:
        predictions = classify(loaded.loaded, loaded.preprocessing, SelectedSamples(samples, some))
        table = predictions.table(coverage)
        table.insert(1, samples.group, groups[some.start : some.stop])
        return table, predictions.window_table()

    def tables() -> Iterator[pd.DataFrame]:
        for table, of_part in in_parts(output, key, len(samples), compute, progress):
            of_windows.append(of_part)
            yield table

    of_windows: list[pd.DataFrame] = []
    key = key_of(loaded, samples, {"coverage": coverage}) if len(samples) > SIZE else {}
    with holding(output, len(samples)):
        write_parts(output, tables())
        if windows is not None:
            write_parts(windows, iter(of_windows))
    return len(samples), samples.skipped


def surprise_files(
    model: str | Path,
    paths: Sequence[Path],
    output: Path,
    horizon: int,
    *,
    continued: Path | None = None,
    draw: Path | None = None,
    skip_errors: bool = False,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> tuple[int, dict[str, str]]:
    """Write `surprise_table` of files. Returns the number of records, and the reasons for those skipped.

    continued: another file, with the `horizon` patches predicted after each record. draw: a picture (.png, .svg, .pdf)
    of the most surprising 10 s. Raises InputError, also for a model that does not predict the next patch.
    """
    for place in filter(None, (output, continued)):
        if place.suffix not in SUFFIXES:
            raise InputError(f"{place}: surprise is written as {', '.join(SUFFIXES)}")
    for place in filter(None, (output, continued, draw)):
        refuse_input_as_output(place, paths)
    loaded = load(model)
    _, preprocessing = check_predicts(loaded.loaded, loaded.preprocessing)
    samples = read_for(loaded, paths, skip_errors, fs, leads, unit)
    table = surprise_table(loaded.loaded, preprocessing, samples, horizon)
    expected = None if continued is None else continuation_table(loaded.loaded, preprocessing, samples, horizon)
    write_table(output, table)
    if continued is not None and expected is not None:
        write_table(continued, expected)
    if draw is not None:
        token_s = loaded.encoder.config.patch[0] / preprocessing.fs
        figure = draw_surprise(preprocessing, token_s, samples, table)
        with replacing(draw) as new:
            figure.savefig(new, dpi=150)
    return len(samples), samples.skipped
