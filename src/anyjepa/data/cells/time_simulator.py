"""A simulated time course with known truth: cells of two lineages that differentiate, sampled at several times.

A signal at time 0 moves each regulator towards a new level at its own pace, so that changes saturate. Some changes are
the same in both lineages; others begin at the branching and differ. Cells develop at different speeds.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from anyjepa.config import Config
from anyjepa.data.cells.conditions import CONTROL, Condition, Perturbation
from anyjepa.data.cells.network import Network, check_cells, counted, noiseless
from anyjepa.data.cells.screen import Labels, Screen
from anyjepa.randomness import generator

TRUTH_CELLS = 1000  # new cells per time and lineage, without counting noise, whose mean is the truth
SHARED = 0.4  # share of the moved regulators that both lineages have


class TimeSimulatorConfig(Config):
    """Number of cells, times of sampling, and speed of change. All random numbers depend on `seed`."""

    kind: Literal["differentiation"] = "differentiation"
    genes: int = Field(default=200, ge=2, le=50_000, description="genes; the first of them are the regulators")
    regulators: int = Field(default=30, ge=2, description="genes that act on others, some of which the signal moves")
    moved: int = Field(default=15, ge=2, description="regulators that the signal moves")
    times: tuple[PositiveFloat, ...] = Field(
        default=(1, 2, 3, 4, 5, 6, 7), min_length=1, description="of sampling, after time 0, in days"
    )
    branching: NonNegativeFloat = Field(default=2, description="when the lineages part, in days")
    pace: PositiveFloat = Field(default=6, description="median time constant of the regulators, days")
    cells: int = Field(default=250, ge=1, description="cells of each lineage at each time")
    depth: PositiveFloat = Field(default=4000, description="median counts of a cell")
    seed: int = Field(default=0, ge=0, description="other seeds give other networks, programs and cells")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.moved <= self.regulators <= self.genes:
            raise ValueError(
                f"moved={self.moved}, regulators={self.regulators}, genes={self.genes}: none may exceed the next"
            )
        if sorted(set(self.times)) != list(self.times):
            raise ValueError("times must increase")
        return self


def simulate_times(config: TimeSimulatorConfig) -> Screen:
    """Simulate the time course, with counts in memory: time 0 is the control, `cell_type` the lineage.

    `truth` is the expected expression of both lineages in equal parts.
    """
    check_cells(2 * config.cells * (1 + len(config.times)), config.genes)
    rng = np.random.default_rng(config.seed)
    network = Network(config.genes, config.regulators, rng)
    program = _Program(config, rng)
    times = np.array([0, *config.times])
    condition = np.repeat(np.arange(len(times)), 2 * config.cells)
    lineage = np.tile(np.repeat([0, 1], config.cells), len(times))

    def log_expression(time: np.ndarray, lineage: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        own, state = network.cells(len(time), rng)
        return network.log_expression(own, state, program.down(time, lineage, rng), np.zeros(1, np.float32))

    counts = counted(log_expression(times[condition], lineage, rng), config.depth, rng)
    fresh, both = generator(config.seed, "truth of times", 0), np.arange(2 * TRUTH_CELLS) % 2
    truth = [noiseless(log_expression(np.full(len(both), time), both, fresh)).mean(0) for time in times]
    return Screen(
        ids=tuple(f"cell{number}" for number in range(len(condition))),
        genes=network.names,
        conditions=(CONTROL, *(Condition(frozenset([Perturbation("time", time=time)])) for time in config.times)),
        condition=condition,
        values=counts,
        library=counts.sum(1, dtype=np.float64),
        cell_type=Labels(("A", "B"), lineage),
        truth=np.stack(truth),
        source="simulator",
    )


class _Program:
    """Where the signal moves each regulator in each lineage, from when on, and how fast."""

    def __init__(self, config: TimeSimulatorConfig, rng: np.random.Generator):
        moved = rng.permutation(config.regulators)[: config.moved]
        self.goal = np.zeros((2, config.regulators))
        self.goal[:, moved] = rng.uniform(0.3, 1.2, (2, config.moved)) * rng.choice([1, -1], (2, config.moved))
        shared = moved[: round(SHARED * config.moved)]
        self.goal[1, shared] = self.goal[0, shared]
        self.begin = np.where(np.isin(np.arange(config.regulators), shared), 0, config.branching)
        self.pace = config.pace * rng.lognormal(0, 0.5, config.regulators)

    def down(self, time: np.ndarray, lineage: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """How far each regulator has moved, (N, K) float32, in N cells that develop at different speeds."""
        own = (time * rng.lognormal(0, 0.2, len(time)))[:, None]
        return (self.goal[lineage] * -np.expm1(-np.maximum(own - self.begin, 0) / self.pace)).astype(np.float32)
