"""Select variable genes: those with a large dispersion for their mean, and all perturbed genes."""

from __future__ import annotations

import numpy as np

from anyjepa.data.cells.screen import BLOCK, Screen
from anyjepa.errors import InputError

BINS = 20  # groups of genes with a similar mean


def variable_genes(screen: Screen, cells: np.ndarray, count: int) -> tuple[str, ...]:
    """Select `count` genes, in panel order: all perturbed ones, then the most variable over `cells` (training rows).

    Variability is the dispersion of unlogged expression, standardised among genes of similar mean (Satija et al. 2015;
    the flavour 'seurat' of scanpy). InputError if no cell is given, for more genes than there are, and for fewer than
    are perturbed.
    """
    perturbed = np.isin(screen.genes, screen.perturbations)
    if not len(cells):
        raise InputError(f"{screen.source}: no cells to choose variable genes from")
    least, most = max(1, int(perturbed.sum())), len(screen.genes)
    if not least <= count <= most:
        raise InputError(
            f"{screen.source}: has {most} genes, {perturbed.sum()} of them perturbed; data.genes={count} must lie "
            f"between {least} and {most}"
        )
    if count == len(screen.genes):
        return screen.genes
    variable = normalised_dispersion(*_moments(screen, cells))
    ranked = np.where(perturbed, np.inf, np.where(np.isnan(variable), -np.inf, variable))
    kept = np.sort(np.argsort(-ranked, kind="stable")[:count])
    return tuple(screen.genes[gene] for gene in kept)


def normalised_dispersion(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Compute log(variance / mean) of each gene, standardised within 20 bins of log1p(mean), (G,); NaN: no dispersion.

    A gene alone in its bin gets 1.
    """
    mean = np.where(mean == 0, 1e-12, mean)
    dispersion = np.log(np.where(variance == 0, np.nan, variance / mean))
    mean = np.log1p(mean)
    inner = np.linspace(mean.min(), mean.max(), BINS + 1)[1:-1]
    place = np.searchsorted(inner, mean, side="left")
    normalised = np.full(len(mean), np.nan)
    for bin in np.unique(place):
        genes = np.flatnonzero((place == bin) & ~np.isnan(dispersion))
        if len(genes) == 1:
            normalised[genes] = 1
        elif len(genes):
            inside = dispersion[genes]
            normalised[genes] = (inside - inside.mean()) / inside.std(ddof=1)
    return normalised


def _moments(screen: Screen, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (N - 1) of unlogged expression over cells, in float64, (G,) each."""
    number, mean, squares = 0, np.zeros(len(screen.genes)), np.zeros(len(screen.genes))
    cells = np.sort(cells)
    for start in range(0, len(cells), BLOCK):
        block = np.expm1(screen.rows(cells[start : start + BLOCK])).astype(np.float64)
        new = number + len(block)
        shift = block.mean(0) - mean
        squares += ((block - block.mean(0)) ** 2).sum(0) + shift**2 * number * len(block) / new
        mean += shift * len(block) / new
        number = new
    return mean, squares / max(number - 1, 1)
