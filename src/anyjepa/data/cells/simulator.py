"""A simulated knockdown screen with known truth: the embedded cells, so that a recipe runs without a download.

Sixty regulators act on each other and on the other genes through a random acyclic network. Knocking one down changes
everything downstream of it and stresses the cell. Activities saturate, so two knockdowns do not add up exactly.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from anyjepa.config import Config
from anyjepa.data.cells.conditions import CONTROL, Condition, Perturbation
from anyjepa.data.cells.network import Network, check_cells, counted
from anyjepa.data.cells.screen import Labels, Screen
from anyjepa.randomness import generator

TRUTH_CELLS = 3000  # new cells per condition, without counting noise, whose mean is the truth


class CellSimulatorConfig(Config):
    """Number of cells, genes and knockdowns, and sequencing depth. All random numbers depend on `seed`."""

    kind: Literal["knockdowns"] = "knockdowns"
    genes: int = Field(default=500, ge=2, le=50_000, description="genes; the first of them are the regulators")
    regulators: int = Field(default=60, ge=2, description="genes that act on others")
    singles: int = Field(default=60, ge=1, description="regulators that are knocked down alone")
    doubles: int = Field(default=40, ge=0, description="pairs of regulators that are knocked down together")
    cells: int = Field(default=80, ge=1, description="cells of each perturbation")
    controls: int = Field(default=1500, ge=1, description="control cells")
    depth: PositiveFloat = Field(default=4000, description="median counts of a cell")
    stress: float = Field(default=0.6, ge=0, description="scale of the response that all knockdowns share")
    batches: int = Field(default=1, ge=1, description="batches of cells, with gene shifts of their own")
    batch_scale: float = Field(default=0.2, ge=0, description="standard deviation of a batch's shift of a gene, in log")
    seed: int = Field(default=0, ge=0, description="other seeds give other networks and other cells")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        pairs = self.regulators * (self.regulators - 1) // 2
        for what, number, most in (
            ("regulators", self.regulators, self.genes),
            ("singles", self.singles, self.regulators),
            ("doubles", self.doubles, pairs),
        ):
            if number > most:
                raise ValueError(f"{what}={number} exceeds the maximum of {most}")
        return self


def simulate(config: CellSimulatorConfig) -> Screen:
    """Simulate the screen, with counts in memory; `cell_type` is the state of a cell, `truth` the expected expression.

    All numbers come from one generator, in this order: network, baselines, stress loadings, states; which singles and
    doubles, stress of each; then for all cells, in the order of the conditions, their own activity, state, library size
    and counts; then the cells of the truth. Batches draw from another one, so one batch or none is the same screen.
    """
    check_cells(config.controls + config.cells * (config.singles + config.doubles), config.genes)
    rng = np.random.default_rng(config.seed)
    network = Network(config.genes, config.regulators, rng)
    singles = rng.permutation(config.regulators)[: config.singles]
    pairs: set[tuple[int, int]] = set()
    while len(pairs) < config.doubles:
        first, second = sorted(rng.choice(config.regulators, 2, replace=False).tolist())
        pairs.add((first, second))
    knocked = [(), *((one,) for one in singles.tolist()), *sorted(pairs)]
    stress = config.stress * rng.lognormal(0, 0.5, config.regulators)

    condition = np.repeat(np.arange(len(knocked)), [config.controls] + [config.cells] * (len(knocked) - 1))
    down = np.zeros((len(knocked), config.regulators), np.float32)
    for number, regulators in enumerate(knocked):
        down[number, list(regulators)] = 1
    stressed = np.minimum(1.6, down @ stress).astype(np.float32)

    own, states = network.cells(len(condition), rng)
    batch, shift = _batches(config, len(condition))
    expression = network.log_expression(own, states, down[condition], stressed[condition]) + shift[batch]
    counts = counted(expression, config.depth, rng)
    truth = network.expected(down, stressed, TRUTH_CELLS, rng)

    return Screen(
        ids=tuple(f"cell{number}" for number in range(len(condition))),
        genes=network.names,
        conditions=(CONTROL, *(_knockdown(regulators) for regulators in knocked[1:])),
        condition=condition,
        values=counts,
        library=counts.sum(1, dtype=np.float64),
        cell_type=Labels(("state0", "state1"), states),
        batch=Labels(tuple(f"batch{b}" for b in range(config.batches)), batch) if config.batches > 1 else None,
        truth=truth,
        source="simulator",
    )


def _batches(config: CellSimulatorConfig, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the batch of each cell (N,), and the shift of log expression in each batch (batches, G)."""
    if config.batches == 1:
        return np.zeros(cells, np.int64), np.zeros((1, config.genes), np.float32)
    rng = generator(config.seed, "cell batches", 0)
    shift = config.batch_scale * rng.standard_normal((config.batches, config.genes), dtype=np.float32)
    return rng.integers(0, config.batches, cells), shift


def _knockdown(regulators: tuple[int, ...]) -> Condition:
    return Condition(frozenset(Perturbation(f"T{k}", "knockdown") for k in regulators))
