"""Pictures of predicted and measured changes, as matplotlib figures."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.cells.files import from_anndata, read_h5ad
from anyjepa.data.cells.screen import Screen
from anyjepa.errors import DataWarning, InputError, did_you_mean, printable
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.compounds import Amount
from anyjepa.perturbation.predictions.predict import PredictedConditions, measured_changes
from anyjepa.perturbation.predictions.reading import read_predictions
from anyjepa.perturbation.scoring.effects import Effects, Fit, Prediction

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Source = PredictedConditions | Screen | AnnData | Path | str

NAMED = 10  # genes with their names
CHANGE = "change of mean ln(counts per 10,000 + 1)"


def volcano(source: Source, condition: str) -> Figure:
    """Changes of all genes against their certainty. The certain genes with the largest changes are named first.

    source: predictions (also as AnnData, or an .h5ad file of `anyjepa perturb -o`), whose vertical axis is |change| in
    half-widths of its interval (1: the interval ends at 0), or the cells of a screen (AnnData, .h5ad, `Screen`), whose
    vertical axis is the adjusted p-value of a Wilcoxon test. That p-value depends on the number of cells; for cells
    that were drawn from a prediction, a DataWarning says that it is not evidence. condition: its name, for predictions
    in several contexts such as 'stimulated in B'. Raises InputError for an unknown condition, and for a prediction
    without an interval.
    """
    source = _opened(source)
    if isinstance(source, PredictedConditions):
        row, prediction = _row(source.names, condition), source.prediction
        if prediction.low is None or prediction.high is None or not np.isfinite(prediction.low[row]).all():
            why = prediction.why[row] if prediction.why else "the method gives none"
            raise InputError(f"volcano: '{condition}' has no interval: {why}")
        half = (prediction.high[row] - prediction.low[row]) / 2
        change, genes = prediction.change[row], source.genes
        sure, level = np.abs(change) / np.maximum(half, 1e-12), prediction.level
        label = f"|change| in half-widths of its {f'{100 * level:g} % ' if level else ''}interval"
        limit, meaning = 1.0, "interval ends at 0"
    else:
        screen = source
        cells, controls = _cells(screen, condition)
        change, genes = cells.mean(0, dtype=float) - controls.mean(0, dtype=float), screen.genes
        sure = -np.log10(np.maximum(_adjusted_p(cells, controls), 1e-300))
        label = f"-log10 adjusted p (Wilcoxon; {len(cells):,} and {len(controls):,} cells)"
        limit, meaning = -np.log10(0.05), "adjusted p = 0.05"
    page, plot = _blank(condition, CHANGE, label)
    plot.axhline(limit, color="0.6", linewidth=0.8, linestyle="--")
    plot.annotate(meaning, (0.01, limit), (0, 2), plot.get_yaxis_transform(), "offset points", color="0.4", fontsize=7)
    plot.scatter(change, sure, s=12, c=np.where(sure > limit, "tab:blue", "0.7").tolist())
    _name(plot, genes, change, sure, np.lexsort((-np.abs(change), sure <= limit))[:NAMED])
    return page


def ranked_genes(source: Source, condition: str, count: int = 20) -> Figure:
    """The genes with the largest changes, from the top down; for predictions with intervals and measured changes.

    source, condition: see `volcano`; for cells, the measured changes are ranked. Raises InputError for an unknown
    condition.
    """
    source = _opened(source)
    measured: np.ndarray | None = None
    beside = np.zeros((2, len(source.genes)))
    if isinstance(source, PredictedConditions):
        row, prediction = _row(source.names, condition), source.prediction
        change, what = prediction.change[row], "predicted"
        measured = None if source.measured is None else source.measured.change[row]
        if prediction.low is not None and prediction.high is not None:
            beside = np.nan_to_num(np.stack([change - prediction.low[row], prediction.high[row] - change]))
    else:
        cells, controls = _cells(source, condition)
        change, what = cells.mean(0, dtype=float) - controls.mean(0, dtype=float), "measured"
    order = np.argsort(-np.abs(change), kind="stable")[:count]
    page, plot = _blank(condition, CHANGE, "")
    page.set_size_inches(6, 1 + 0.22 * len(order))
    places = np.arange(len(order))
    plot.errorbar(change[order], places, xerr=beside[:, order], fmt="o", color="tab:blue", ecolor="0.7", label=what)
    if measured is not None and np.isfinite(measured).all():
        plot.plot(measured[order], places, "x", color="tab:orange", label="measured")
        plot.legend(frameon=False)
    plot.set_yticks(places, [printable(str(source.genes[gene])) for gene in order], parse_math=False)
    plot.set_ylim(len(order) - 0.4, -0.6)
    return page


def predicted_against_measured(source: PredictedConditions | AnnData | Path | str, condition: str) -> Figure:
    """Predicted against measured changes of all genes, with intervals of both where they are known.

    source: predictions, see `volcano`. Raises InputError for an unknown condition, and for one that was not measured.
    """
    predicted = _opened(source)
    if not isinstance(predicted, PredictedConditions):
        raise InputError("these are cells, not predictions; pass the result of anyjepa.perturb or 'anyjepa perturb -o'")
    row, measured = _row(predicted.names, condition), predicted.measured
    if measured is None or not np.isfinite(measured.change[row]).all():
        raise InputError(f"'{condition}' was not measured, so its prediction cannot be compared")
    page, plot = _blank(f"{condition} (used in fitting)", f"measured {CHANGE}", f"predicted {CHANGE}")
    x, y = measured.change[row], predicted.prediction.change[row]
    across = np.nan_to_num(measured.high[row] - x)
    low, high = predicted.prediction.low, predicted.prediction.high
    up = np.zeros(len(y)) if low is None or high is None else np.nan_to_num(high[row] - y)
    plot.errorbar(x, y, xerr=across, yerr=up, fmt="o", markersize=3, linewidth=0.5, color="tab:blue", ecolor="0.8")
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    plot.plot(ends, ends, color="0.6", linewidth=0.8, linestyle="--")
    _name(plot, predicted.genes, x, y, np.argsort(-np.abs(x), kind="stable")[:NAMED])
    return page


def held_out(splits: Sequence[Effects], fit: Fit) -> Figure:
    """Predicted against measured changes of held-out conditions: the six with the largest effects, each by a new fit.

    Raises InputError if the method predicts none of them.
    """
    from matplotlib.figure import Figure

    drawn: list[tuple[str, np.ndarray, np.ndarray]] = []
    for split in splits:
        test = split.held_out
        change = Prediction.of(fit(split.train)(test.perturbed, test.control)).change
        answered: np.ndarray = np.asarray(np.isfinite(change).all(1))
        drawn += [(test.conditions[i], test.change[i], change[i]) for i in np.flatnonzero(answered).tolist()]
    if not drawn:
        raise InputError("the method predicts none of the held-out conditions")
    drawn = sorted(drawn, key=lambda one: -float(np.linalg.norm(one[1])))[:6]
    page: Any = Figure(figsize=(9, 6 if len(drawn) > 3 else 3.2), layout="constrained")
    for place, (name, measured, predicted) in enumerate(drawn):
        plot = page.add_subplot(2 if len(drawn) > 3 else 1, 3, place + 1)
        r = np.corrcoef(measured, predicted)[0, 1] if np.ptp(predicted) > 0 else np.nan
        plot.set_title(f"{name} (r = {r:.2f})", fontsize=9)
        plot.axline((0, 0), slope=1, color="0.6", linewidth=0.8, linestyle="--")
        plot.scatter(measured, predicted, s=6, color="tab:blue")
    page.supxlabel(f"measured {CHANGE}", fontsize=9)
    page.supylabel("predicted while held out", fontsize=9)
    return page


def amount_curves(
    source: Screen | AnnData, perturbation: str, genes: Sequence[str], of: str = "dose", level: float = 0.8
) -> Figure:
    """Measured changes of genes over the doses, or the times, of one perturbation, with intervals of their means.

    of: 'dose' or 'time'. level: coverage of the intervals, which are for the noise of the cells. Raises InputError for
    an unknown gene or perturbation, and for one with fewer than two doses or times.
    """
    screen = _screen(source)
    chosen = screen.select(genes=list(genes))
    effects = effects_of(chosen, (), amounts=True)
    amounts = [Amount.of(next(iter(one))) if len(one) == 1 else None for one in effects.perturbed]
    rows = [i for i, one in enumerate(amounts) if one and one.name == perturbation and getattr(one, of) is not None]
    if len(rows) < 2:
        names = sorted({one.name for one in amounts if one})
        raise InputError(
            f"{screen.source}: '{perturbation}' has {len(rows)} values of {of}{did_you_mean(perturbation, names)}"
        )
    measured = measured_changes(effects, [effects.perturbed[i] for i in rows], effects.control[rows], level)
    x = np.array([float(getattr(amounts[i], of)) for i in rows])
    order = np.argsort(x, kind="stable")
    page, plot = _blank(perturbation, of, CHANGE)
    for place, gene in enumerate(chosen.genes):
        y = measured.change[order, place]
        half = measured.high[order, place] - y
        plot.errorbar(np.r_[0, x[order]], np.r_[0, y], np.r_[0, half], marker="o", capsize=2, label=gene)
    plot.set_xscale("symlog", linthresh=float(x[x > 0].min()) if (x > 0).any() else 1.0)
    plot.set_xticks(np.r_[0, x[order]], [f"{amount:g}" for amount in np.r_[0, x[order]]])
    plot.minorticks_off()
    plot.legend(frameon=False)
    return page


def _opened(source: Source) -> PredictedConditions | Screen:
    """Predictions, or the cells of a screen."""
    if isinstance(source, (PredictedConditions, Screen)):
        return source
    predicted = read_predictions(source)
    if predicted is not None:
        return predicted
    return read_h5ad(source) if isinstance(source, (str, Path)) else _screen(source)


def _screen(source: Screen | AnnData) -> Screen:
    if isinstance(source, Screen):
        return source
    if "noise" in source.uns.get("anyjepa", {}):
        warnings.warn(
            DataWarning("these cells were drawn from a prediction: their p-values depend on how many were drawn"),
            stacklevel=3,
        )
    return from_anndata(source)


def _cells(screen: Screen, condition: str) -> tuple[np.ndarray, np.ndarray]:
    number = _row([str(one) for one in screen.conditions], condition)
    return screen.rows(np.flatnonzero(screen.condition == number)), screen.rows(screen.controls)


def _adjusted_p(cells: np.ndarray, controls: np.ndarray) -> np.ndarray:
    from scipy.stats import false_discovery_control, mannwhitneyu

    p = np.ones(cells.shape[1])
    varies = np.ptp(np.concatenate([cells, controls]), axis=0) > 0
    if varies.any():
        ours, theirs = (part[:, varies].astype(float) for part in (cells, controls))  # float32 ends at 1e-45
        p[varies] = mannwhitneyu(ours, theirs, method="asymptotic").pvalue
    return false_discovery_control(p)


def _row(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise InputError(f"no condition '{name}'{did_you_mean(name, names)}")
    return list(names).index(name)


def _blank(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    page: Any = Figure(figsize=(6, 4.5), layout="constrained")
    plot = page.add_subplot()
    plot.set(title=title, xlabel=x, ylabel=y)
    plot.axvline(0, color="0.9", linewidth=0.8, zorder=0)
    return page, plot


def _name(plot: Axes, genes: Sequence[str], x: np.ndarray, y: np.ndarray, chosen: np.ndarray) -> None:
    """Write the names of genes next to their points, inside the axes; a name that fits nowhere is left out.

    Names cover neither each other nor the points of other genes.
    """
    from matplotlib.text import Text

    plot.margins(0.08)
    page: Any = plot.figure
    page.draw_without_rendering()  # fixes the layout that places are measured in
    frame, occupied = plot.get_window_extent(), [text.get_window_extent() for text in plot.texts]
    points = plot.transData.transform(np.column_stack([x, y]))
    for gene in chosen.tolist():
        others = np.delete(points, gene, axis=0)
        outward = 1 if x[gene] >= 0 else -1
        for up, across in itertools.product((-3, 5, -12, 14, -22, 24, -36, 38), (-outward, outward)):
            side, line = "left" if across > 0 else "right", {"arrowstyle": "-", "color": "0.7", "linewidth": 0.6}
            name = plot.annotate(
                str(genes[gene]), (x[gene], y[gene]), (6 * across, up), textcoords="offset points", ha=side, fontsize=8,
                arrowprops=line if abs(up) > 10 else None,
            )  # fmt: skip
            name.get_window_extent()  # moves it to its point
            place = Text.get_window_extent(name)  # without the line
            free = not place.count_overlaps(occupied) and not place.padded(3).count_contains(others)
            if free and frame.contains(*place.min) and frame.contains(*place.max):
                occupied.append(place)
                break
            name.remove()
