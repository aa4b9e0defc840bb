"""Predictions as counts: expected counts at a library size, and cells drawn from them."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np

from anyjepa.data.cells.screen import SCALE
from anyjepa.errors import InputError, did_you_mean
from anyjepa.perturbation.predictions.predict import PredictedConditions
from anyjepa.randomness import generator

Noise = Literal["poisson", "negative_binomial"]


class SampledCells(NamedTuple):
    """N cells, the controls first."""

    genes: tuple[str, ...]
    condition: np.ndarray
    """(N,) names; 'control' for control cells."""
    counts: np.ndarray
    """(N, G) int32."""
    library: np.ndarray
    """(N,) counts of the cell over all genes measured, inside the panel or not, before sampling."""


def expected_counts(predicted: PredictedConditions, controls: np.ndarray, library: float = SCALE) -> np.ndarray:
    """(T, G) counts of a cell with `library` counts over all genes: expm1 of predicted means, scaled to the panel.

    controls: (m, G) control cells, log1p of counts per 10,000. The panel gets their mean share of a cell's counts.
    expm1 of a mean of logarithms is below the mean of counts, most of all for rare and variable genes; scaling corrects
    this only on average. Raises InputError for invalid controls, or a library that is not positive.
    """
    if not (np.isfinite(library) and library > 0):
        raise InputError(f"library must be above 0 counts per cell, but is {library}")
    share = _shares(predicted, controls).mean()
    rates = np.expm1(predicted.expression)
    return library * share * rates / np.maximum(rates.sum(1, keepdims=True), 1e-12)


def sample_cells(
    predicted: PredictedConditions,
    controls: np.ndarray,
    library: np.ndarray,
    cells: int | None = None,
    seed: int = 0,
    noise: Noise = "poisson",
) -> SampledCells:
    """Sample control cells and, for every condition, control cells shifted by its change, as counts.

    controls: (m, G) log1p of counts per 10,000; library: (m,) their counts over all genes. cells: number per condition
    and for the control, drawn with replacement; None: every control cell once. Each cell keeps its library size and the
    panel's share of it.
    noise: 'poisson' draws around every shifted cell, so genes covary as in the controls. But the controls already have
    counting noise, which is then added twice: sampled cells scatter more and have more zeros than measured ones.
    'negative_binomial' draws each gene independently around the mean of the shifted cells, with the `dispersions` of
    the controls: genes scatter as measured, but no longer covary. In either case, compare with the sampled controls.
    Raises InputError for invalid controls, libraries that do not match them, or fewer than one cell.
    """
    shares = _shares(predicted, controls)
    if library.shape != shares.shape or not (np.isfinite(library) & (library > 0)).all():
        raise InputError(f"{len(controls)} control cells need one library size above 0 each")
    if noise not in get_args(Noise):
        raise InputError(f"unknown noise '{noise}'{did_you_mean(noise, get_args(Noise))}")
    if cells is not None and cells < 1:
        raise InputError(f"cells must be at least 1 per condition, but is {cells}")
    alpha = dispersions(controls, library) if noise == "negative_binomial" else None
    names, changes = ("control", *predicted.conditions), [np.zeros(len(predicted.genes)), *predicted.prediction.change]
    counts, rows = [], []
    for number, change in enumerate(changes):
        rng = generator(seed, "predicted cells", number)
        chosen = np.arange(len(controls)) if cells is None else rng.integers(0, len(controls), cells)
        moved = np.expm1(np.maximum(controls[chosen if alpha is None else ...] + change, 0))
        rates = moved if alpha is None else np.tile(moved.mean(0), (len(chosen), 1))
        rates *= (library * shares)[chosen, None] / np.maximum(rates.sum(1, keepdims=True), 1e-12)
        if alpha is not None:
            own = np.maximum(alpha, 1e-9)  # nearly Poisson
            rates = rng.gamma(1 / own, own, rates.shape) * rates
        counts.append(rng.poisson(rates).astype(np.int32))
        rows.append(chosen)
    condition = np.repeat(np.array(names, object), len(rows[0]))
    return SampledCells(predicted.genes, condition, np.concatenate(counts), library[np.concatenate(rows)])


def dispersions(controls: np.ndarray, library: np.ndarray) -> np.ndarray:
    """(G,) alpha of each gene, at least 0, by moments over control cells: counts have variance mean + alpha mean^2.

    controls: (m, G) log1p of counts per 10,000; library: (m,) their counts over all genes. The mean of a gene in a cell
    is the cell's counts in the panel times the gene's share of the counts of all cells.
    """
    counts = np.expm1(controls.astype(float)) * library[:, None] / SCALE
    mean = counts.sum(1, keepdims=True) * counts.sum(0) / max(counts.sum(), 1e-12)
    excess = ((counts - mean) ** 2 - mean).sum(0)
    return np.maximum(excess / np.maximum((mean**2).sum(0), 1e-12), 0)


def _shares(predicted: PredictedConditions, controls: np.ndarray) -> np.ndarray:
    """(m,) share of each control cell's counts that lies in the panel."""
    if controls.ndim != 2 or not len(controls) or controls.shape[1] != len(predicted.genes):
        raise InputError(f"control cells have shape {controls.shape}; it must be (cells, {len(predicted.genes)} genes)")
    if not np.isfinite(controls).all() or controls.min() < 0:
        raise InputError("control cells must be log1p of counts, finite and not negative")
    shares = np.expm1(controls.astype(float)).sum(1) / SCALE
    if (most := shares.max()) > 1.001:
        raise InputError(f"control cells have up to {most * SCALE:.0f} counts; pass log1p of counts per {SCALE}")
    return shares
