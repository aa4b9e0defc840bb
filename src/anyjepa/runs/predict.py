"""Classify files, or score how surprising a next-embedding model finds them, and write a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.samples import SelectedSamples
from anyjepa.errors import InputError
from anyjepa.runs.classifier import check_coverage, classifier_of, classify, window_counts
from anyjepa.runs.embed import read_for, refuse_input_as_output, write_table
from anyjepa.runs.explain import Explanation, check_passes, class_number, explain, picture_paths
from anyjepa.runs.model import load
from anyjepa.runs.parts import SIZE, Progress, holding, in_parts, key_of, write_parts
from anyjepa.runs.surprise import check_predicts, continuation_table, draw_surprise, surprise_table
from anyjepa.writing import replacing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True)
class Explaining:
    """How predictions are explained. output: a file for `Explanation.table`; only: one class instead of all.

    tokens: see `explain`. pictures: a picture for one record, or a folder of pictures, drawn by `draw` for the class
    `only`, or else the most probable class.
    """

    output: Path
    only: str | None = None
    tokens: int | None = None
    pictures: Path | None = None
    draw: Callable[[Explanation, str], Figure] | None = None


def predict_files(
    model: str | Path,
    paths: Sequence[Path],
    output: Path,
    *,
    windows: Path | None = None,
    coverage: float | None = None,
    explaining: Explaining | None = None,
    skip_errors: bool = False,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    progress: Progress = lambda done, count: None,
) -> tuple[int, dict[str, str]]:
    """Write one row per record (`Predictions.table`). Returns the number of records, and the reasons for those skipped.

    windows: another file, with one row per window. coverage: see `Predictions.table`. explaining: also explain the
    predictions; the table then has `AF.evidence_s`, the start of the place that speaks most for a class.
    Raises InputError, also for a model without a classifier.
    """
    tables = [output, *([windows] if windows else []), *([explaining.output] if explaining else [])]
    for number, place in enumerate(tables):
        if place.suffix not in SUFFIXES:
            raise InputError(f"{place}: predictions are written as {', '.join(SUFFIXES)}")
        refuse_input_as_output(place, paths)
        if place.resolve() in [other.resolve() for other in tables[:number]]:
            raise InputError(f"{place}: is named for two tables; choose another file")
    loaded = load(model)
    config = classifier_of(loaded.loaded)
    if coverage is not None:
        check_coverage(loaded.loaded.calibration, coverage)
    if explaining and explaining.only is not None:
        class_number(config.classes, explaining.only)
    samples = read_for(loaded, paths, skip_errors, fs, leads, unit)
    groups = np.array(samples.known_groups)
    several = max(window_counts(config, loaded.preprocessing, samples)) > 1
    pictures: list[Path] = []
    if explaining:
        check_passes(loaded.loaded, loaded.preprocessing, samples, explaining.tokens)
        if explaining.pictures:
            refuse_input_as_output(explaining.pictures, paths)
            pictures = picture_paths(explaining.pictures, samples.ids)

    def compute(some: range) -> tuple[pd.DataFrame, ...]:
        chosen = SelectedSamples(samples, some)
        predictions = classify(loaded.loaded, loaded.preprocessing, chosen)
        table = predictions.table(coverage, several)
        table.insert(1, samples.group, groups[some.start : some.stop])
        if explaining is None:
            return table, predictions.window_table()
        return (
            table,
            predictions.window_table(),
            _explained(explaining, explanations(some), table, pictures[some.start :]),
        )

    def explanations(some: range) -> Iterator[Explanation]:
        tokens = explaining.tokens if explaining else None
        chosen = SelectedSamples(samples, some)
        for done, one in enumerate(explain(loaded.loaded, loaded.preprocessing, chosen, tokens), some.start + 1):
            yield one
            progress(done, len(samples))

    def tables_of_parts() -> Iterator[pd.DataFrame]:
        for table, *others in in_parts(output, key, len(samples), compute, progress):
            for more, of_part in zip(further, others, strict=True):
                more.append(of_part)
            yield table

    further: list[list[pd.DataFrame]] = [[], *([[]] if explaining else [])]
    settings = {"coverage": coverage, "explain": explaining and [explaining.only, explaining.tokens]}
    key = key_of(loaded, samples, settings) if len(samples) > SIZE else {}
    with holding(output, len(samples)):
        write_parts(output, tables_of_parts())
        if windows is not None:
            write_parts(windows, iter(further[0]))
        if explaining is not None:
            write_parts(explaining.output, iter(further[1]))
    return len(samples), samples.skipped


def _explained(
    explaining: Explaining, explanations: Iterator[Explanation], table: pd.DataFrame, pictures: Sequence[Path]
) -> pd.DataFrame:
    """The rows of some explanations. Their evidence is added to the table of predictions, and their pictures drawn."""
    import pandas as pd

    rows, strongest = [], []
    for place, one in enumerate(explanations):
        rows.append(one.table(explaining.only))
        strongest.append(one.strongest_s)
        if pictures and explaining.draw:
            figure = explaining.draw(one, explaining.only or one.predicted)
            pictures[place].parent.mkdir(parents=True, exist_ok=True)
            with replacing(pictures[place]) as new:
                figure.savefig(new, format=pictures[place].suffix[1:], dpi=150)
    for number, name in enumerate(one.classes):
        if strongest[0] is not None and explaining.only in (None, name):
            after = list(table.columns).index(f"{name}.probability") + 1
            table.insert(after, f"{name}.evidence_s", [places[number] for places in strongest])
    return pd.concat(rows, ignore_index=True)


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
