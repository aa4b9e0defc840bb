"""Classify files, or score how surprising a next-embedding model finds them, and write a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.runs.applying import ApplyOptions
from anyjepa.runs.classifier import classifier_of, classify, window_counts
from anyjepa.runs.explain import Explanation, check_passes, class_number, explain, picture_paths
from anyjepa.runs.model import load
from anyjepa.runs.predictions import check_coverage
from anyjepa.runs.surprise import check_predicts, continuation_table, draw_surprise, surprise_table
from anyjepa.runs.table_writing import TABLES, check_outputs, refuse_input_as_output
from anyjepa.writing import replacing

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ExplainOptions:
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
    how: ApplyOptions = ApplyOptions(),
    *,
    windows: Path | None = None,
    coverage: float | None = None,
    explaining: ExplainOptions | None = None,
) -> tuple[int, dict[str, str]]:
    """Write one row per record (`Predictions.table`). Returns the number of records, and the reasons for those skipped.

    output: a file, or STDOUT. windows: another file, with one row per window. coverage: see `Predictions.table`.
    explaining: also explain the predictions; the table then has `AF.evidence_s`, the start of the place with the
    strongest evidence for a class. Large outputs are computed in parts; an interrupted call resumes.
    Raises InputError, also for a model without a classifier.
    """
    explained = [explaining.output] if explaining else []
    check_outputs([output, windows, *explained], TABLES, "predictions are", paths)
    loaded = load(model, device=how.device)
    config, preprocessing = classifier_of(loaded.loaded), loaded.preprocessing
    if coverage is not None:
        check_coverage(loaded.loaded.calibration, coverage)
    if explaining and explaining.only is not None:
        class_number(config.classes, explaining.only)
    with how.reading(loaded, paths) as dataset:
        groups = np.array(dataset.known_groups)
        several = max(window_counts(config, preprocessing, dataset)) > 1
        pictures: list[Path] = []
        if explaining:
            check_passes(loaded.loaded, preprocessing, dataset, explaining.tokens)
            if explaining.pictures:
                refuse_input_as_output(explaining.pictures, paths)
                pictures = picture_paths(explaining.pictures, dataset.ids)

        def compute(samples: Samples, some: range) -> tuple[pd.DataFrame, ...]:
            chosen = SelectedSamples(samples, some)
            predictions = classify(loaded.loaded, preprocessing, chosen, how.batch)
            table = predictions.table(coverage, several)
            table.insert(1, dataset.group, groups[some.start : some.stop])
            tables = table, predictions.window_table()
            if explaining is None:
                return tables
            explanations = explain(loaded.loaded, preprocessing, chosen, explaining.tokens, how.batch)
            return *tables, _explained(explaining, counted(explanations, some.start), table, pictures[some.start :])

        def counted(explanations: Iterator[Explanation], first: int) -> Iterator[Explanation]:
            for done, one in enumerate(explanations, first + 1):
                yield one
                how.progress(done, len(dataset))

        drawn = explaining and explaining.pictures and str(explaining.pictures.resolve())  # kept parts are not drawn
        settings = {"coverage": coverage, "explain": explaining and [explaining.only, explaining.tokens, drawn]}
        return how.write([output, windows, *explained], loaded, dataset, compute, settings)


def _explained(
    explaining: ExplainOptions, explanations: Iterator[Explanation], table: pd.DataFrame, pictures: Sequence[Path]
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
    how: ApplyOptions = ApplyOptions(),
    *,
    continued: Path | None = None,
    draw: Path | None = None,
) -> tuple[int, dict[str, str]]:
    """Write `surprise_table` of files. Returns the number of records, and the reasons for those skipped.

    output: a file, or STDOUT. continued: another file, with the `horizon` patches predicted after each record. draw: a
    picture (.png, .svg, .pdf) of the most surprising 10 s. Large outputs are computed in parts; an interrupted call
    resumes. Raises InputError, also for a model that does not predict the next patch.
    """
    check_outputs([output, continued], TABLES, "surprise is", paths)
    if draw is not None:
        refuse_input_as_output(draw, paths)
    loaded = load(model, device=how.device)
    _, preprocessing = check_predicts(loaded.loaded, loaded.preprocessing)
    settings = {"horizon": horizon, "continued": continued is not None}
    top: pd.DataFrame | None = None

    def compute(samples: Samples, some: range) -> tuple[pd.DataFrame, ...]:
        part = SelectedSamples(samples, some)
        table = surprise_table(loaded.loaded, preprocessing, part, horizon, how.batch)
        if continued is None:
            return (table,)
        return table, continuation_table(loaded.loaded, preprocessing, part, horizon)

    def keep_top(table: pd.DataFrame) -> None:
        nonlocal top
        if top is None or table["surprise"].to_numpy().max() > top["surprise"].to_numpy().max():
            top = table

    outputs = [output] if continued is None else [output, continued]
    with how.reading(loaded, paths) as dataset:
        done = how.write(outputs, loaded, dataset, compute, settings, watch=keep_top)
        if draw is not None and top is not None:
            token_s = loaded.encoder.config.patch[0] / preprocessing.fs
            figure = draw_surprise(preprocessing, token_s, dataset, top)
            with replacing(draw) as new:
                figure.savefig(new, dpi=150)
    return done
