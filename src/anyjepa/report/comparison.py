"""Runs side by side on one page: verdicts, scores with paired differences, curves, and the settings that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import commonpath, realpath
from pathlib import Path

from anyjepa import __version__
from anyjepa.errors import InputError
from anyjepa.evaluation.intervals import Estimate
from anyjepa.report.charts import chart, line
from anyjepa.report.contents import Contents, Curve, read_contents
from anyjepa.report.curves import thin
from anyjepa.report.document import Section, document
from anyjepa.report.estimates import mean_text, range_text
from anyjepa.report.markup import Html, join, number, table, tag
from anyjepa.runs.compare import Comparison
from anyjepa.writing import write_text


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the comparison as a self-contained HTML page, and return its path. Raises InputError if it cannot."""
    names = short_names(comparison.runs)
    runs = [read_contents(Path(run)) for run in comparison.runs]
    verdicts = (
        verdict_line(name, str(run.verdict), not run.verdict.healthy) for name, run in zip(names, runs, strict=True)
    )
    top = join([tag("h1", f"{len(runs)} runs side by side"), *verdicts])
    minus = f"Differences are paired, minus {names[0]}."
    sections = [
        Section("scores", "Which run is better?", minus, _scores(comparison, names)),
        Section("curves", "How did training go?", "Newest values below.", _curves(comparison, names, runs)),
        Section("settings", "What differs between the runs?", "Settings with the same value are left out.",
                _settings(comparison, names)),
    ]  # fmt: skip
    if path.suffix != ".html":
        raise InputError(f"{path}: a comparison is written as .html")
    write_text(path, document("Comparison of runs", top, sections, f"Written by anyjepa {__version__}."))
    return path


def verdict_line(name: str, verdict: str, bad: bool) -> Html:
    """Markup of the verdict on one of several runs."""
    return tag("p", tag("strong", name), f": {verdict}.", class_="verdict bad" if bad else "verdict")


def short_names(runs: Sequence[str]) -> list[str]:
    """Paths of the runs, without the folder that all of them share."""
    paths = [Path(realpath(run)) for run in runs]  # `resolve` raises for a link to itself
    common = Path(commonpath([path.parent for path in paths]))
    return [str(path.relative_to(common)) for path in paths]


def _scores(comparison: Comparison, names: Sequence[str]) -> Html:
    rows = []
    for score in comparison.scores:
        rows.append([f"{score.evaluation}, macro AUROC", *map(_estimate, score.scores)])
        if any(score.differences):
            rows.append(["difference", *(_estimate(one, signed=True) for one in score.differences)])
    return table(["", *names], rows) if rows else Html()


def _estimate(value: Estimate | None, signed: bool = False) -> object:
    if value is None or value.mean is None:
        return "–"
    return join([mean_text(value, signed), tag("span", range_text(value, signed), class_="range")])


def _curves(comparison: Comparison, names: Sequence[str], runs: Sequence[Contents]) -> Html:
    columns = [name for name in comparison.training if name not in ("step", "verdict")]
    curves = {
        column: {name: run.metrics[column] for name, run in zip(names, runs, strict=True) if column in run.metrics}
        for column in columns
    }
    return curves_side_by_side(names, curves)


def curves_side_by_side(names: Sequence[str], columns: Mapping[str, Mapping[str, Curve]]) -> Html:
    """A chart per quantity. columns: curves by quantity and by the name of the run."""
    panels = []
    for column, curves in columns.items():
        newest = {name: curve.values[-1].item() if len(curve.values) else None for name, curve in curves.items()}
        last = "; ".join(f"{name} {number(newest.get(name))}" for name in names)
        data = [line(name, *thin(*curves[name]), place) for place, name in enumerate(names) if name in curves]
        axes = {"hovermode": "x unified", "hoverdistance": -1, "xaxis": {"title": {"text": "step"}}}
        panels.append(chart(f"{column}, newest value: {last}", data, axes, f"{last}.", 260, column))
    return tag("div", *panels, class_="panels") if panels else Html()


def _value(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else number(value)


def _settings(comparison: Comparison, names: Sequence[str]) -> Html:
    rows = [[key, *map(_value, values)] for key, values in comparison.settings.items()]
    return table(["", *names], rows) if rows else tag("p", "All settings are equal.")
