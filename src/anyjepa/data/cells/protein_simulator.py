"""Simulated cells with expression and surface proteins: cell types on a network of regulators, unperturbed.

A protein depends on its gene and, after transcription, on some regulators. It saturates, and varies in a way that
expression does not show. Its counts include ambient antibodies.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from anyjepa.config import Config
from anyjepa.data.cells.conditions import CONTROL
from anyjepa.data.cells.network import Network, check_cells, counted
from anyjepa.data.cells.proteins import Proteins
from anyjepa.data.cells.screen import Labels, Screen

AMBIENT = 3.0  # counts of each protein that come from no cell


class ProteinSimulatorConfig(Config):
    """Number of cells, genes and proteins, and sequencing depth. All random numbers depend on `seed`."""

    kind: Literal["proteins"] = "proteins"
    genes: int = Field(default=300, ge=2, le=50_000, description="genes; the first of them are the regulators")
    regulators: int = Field(default=40, ge=2, description="genes that act on others")
    proteins: int = Field(default=24, ge=2, description="genes whose protein is measured")
    types: int = Field(default=6, ge=1, description="types of cells")
    cells: int = Field(default=5000, ge=1, description="cells, each of a random type")
    depth: PositiveFloat = Field(default=1500, description="median counts of a cell's expression")
    protein_depth: PositiveFloat = Field(default=30, description="median counts of a protein")
    own: NonNegativeFloat = Field(default=0.3, description="deviation of a protein that expression does not show, log")
    seed: int = Field(default=0, ge=0, description="other seeds give other networks, types and cells")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for what, number in (("regulators", self.regulators), ("proteins", self.proteins)):
            if number > self.genes:
                raise ValueError(f"{what}={number} exceeds the number of genes, {self.genes}")
        return self


def simulate_proteins(config: ProteinSimulatorConfig) -> Screen:
    """Simulate unperturbed cells with counts in memory; `cell_type` is the type, `proteins` the antibody counts."""
    check_cells(config.cells, config.genes)
    rng = np.random.default_rng(config.seed)
    network = Network(config.genes, config.regulators, rng)
    kept = rng.random((config.types, config.regulators)) < 0.3
    programs = (kept * rng.normal(0, 0.7, kept.shape)).astype(np.float32)
    measured = np.sort(rng.choice(config.genes, config.proteins, replace=False))
    after = (rng.random((config.proteins, config.regulators)) < 0.1) * rng.normal(0, 1.0, (1, config.regulators))
    base, gain = rng.normal(0, 0.7, config.proteins), rng.uniform(0.6, 1.4, config.proteins)

    type_ = rng.integers(0, config.types, config.cells)
    own, state = network.cells(config.cells, rng)
    expression = network.log_expression(own, state, -programs[type_], np.zeros(1, np.float32))
    driver = expression[:, measured] - network.baseline[measured] + own @ after.T
    level = base + gain * np.tanh(0.7 * driver) + rng.normal(0, config.own, driver.shape)
    size = rng.lognormal(np.log(config.protein_depth), 0.35, (config.cells, 1))
    antibodies = rng.poisson(size * np.exp(level) + AMBIENT).astype(np.float32)
    counts = counted(expression, config.depth, rng)
    return Screen(
        ids=tuple(f"cell{number}" for number in range(config.cells)),
        genes=network.names,
        conditions=(CONTROL,),
        condition=np.zeros(config.cells, np.int64),
        values=counts,
        library=counts.sum(1, dtype=np.float64),
        cell_type=Labels(tuple(f"type{number}" for number in range(config.types)), type_),
        proteins=Proteins(tuple(f"{network.names[gene]}-protein" for gene in measured), antibodies),
        source="simulator",
    )
