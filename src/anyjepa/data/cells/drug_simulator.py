"""A simulated drug screen with known truth: compounds with fingerprints, at several doses, on a network of regulators.

Compounds come in families that share most of their fingerprint and their targets. Each bit contributes a little to the
effect of a compound; the response to a dose follows a Hill curve, whose half-maximum depends partly on the fingerprint.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from anyjepa.config import Config
from anyjepa.data.cells.conditions import CONTROL, Condition, Perturbation
from anyjepa.data.cells.network import Network, check_cells, counted
from anyjepa.data.cells.screen import Labels, Screen

TRUTH_CELLS = 300  # new cells per condition, without counting noise, whose mean is the truth
HILL = 1.2  # steepness of every dose curve
FLIPPED = 0.08  # share of a family's bits that differ in a compound


class DrugSimulatorConfig(Config):
    """Number of compounds, doses and cells. All random numbers depend on `seed`."""

    kind: Literal["drugs"] = "drugs"
    genes: int = Field(default=200, ge=2, le=50_000, description="genes; the first of them are the regulators")
    regulators: int = Field(default=30, ge=3, description="genes that act on others, and that compounds act on")
    families: int = Field(default=8, ge=1, description="number of families of similar compounds")
    compounds: int = Field(default=40, ge=2, description="number of compounds, assigned to the families in turn")
    bits: int = Field(default=64, ge=1, description="length of a fingerprint")
    doses: tuple[PositiveFloat, ...] = Field(default=(0.1, 1, 10, 100), min_length=1, description="of every compound")
    cells: int = Field(default=25, ge=1, description="cells of each compound at each dose")
    controls: int = Field(default=600, ge=1, description="cells with the vehicle alone")
    depth: PositiveFloat = Field(default=4000, description="median counts of a cell")
    stress: float = Field(default=0.6, ge=0, description="scale of the response that all compounds share")
    seed: int = Field(default=0, ge=0, description="other seeds give other networks, compounds and cells")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.regulators > self.genes:
            raise ValueError(f"regulators={self.regulators} exceeds the number of genes, {self.genes}")
        if len(set(self.doses)) < len(self.doses):
            raise ValueError("a dose occurs twice")
        return self


def simulate_drugs(config: DrugSimulatorConfig) -> Screen:
    """Simulate the screen, with counts in memory; `features` are fingerprints, `truth` is the expected expression."""
    check_cells(config.controls + config.cells * config.compounds * len(config.doses), config.genes)
    rng = np.random.default_rng(config.seed)
    network = Network(config.genes, config.regulators, rng)
    fingerprints, efficacy, half = _compounds(config, rng)
    stress = config.stress * rng.lognormal(0, 0.5, config.compounds)

    doses = np.array(config.doses)
    share = 1 / (1 + (half[:, None] / doses) ** HILL)  # (compounds, doses) of the full effect
    down = (share[..., None] * efficacy[:, None]).reshape(-1, config.regulators)
    down = np.r_[np.zeros((1, config.regulators)), down].astype(np.float32)
    stressed = np.r_[0, (share * stress[:, None]).ravel()].astype(np.float32)
    conditions = [Perturbation(f"D{c}", "drug", dose) for c in range(config.compounds) for dose in config.doses]
    condition = np.repeat(np.arange(len(down)), [config.controls] + [config.cells] * len(conditions))

    own, states = network.cells(len(condition), rng)
    counts = counted(network.log_expression(own, states, down[condition], stressed[condition]), config.depth, rng)
    return Screen(
        ids=tuple(f"cell{number}" for number in range(len(condition))),
        genes=network.names,
        conditions=(CONTROL, *(Condition(frozenset([one])) for one in conditions)),
        condition=condition,
        values=counts,
        library=counts.sum(1, dtype=np.float64),
        cell_type=Labels(("state0", "state1"), states),
        truth=network.expected(down, stressed, TRUTH_CELLS, rng),
        features={f"D{c}": bits for c, bits in enumerate(fingerprints)},
        source="simulator",
    )


def _compounds(config: DrugSimulatorConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw fingerprints (M, bits), effects of compounds on regulators (M, K), and half-maximal doses (M,)."""
    family = np.arange(config.compounds) % config.families
    shared = rng.random((config.families, config.bits)) < 0.25
    bits = shared[family] ^ (rng.random((config.compounds, config.bits)) < FLIPPED)
    targets = np.zeros((config.families, config.regulators))
    for row in targets:
        chosen = rng.choice(config.regulators, 3, replace=False)
        row[chosen] = rng.uniform(0.4, 1.2, 3) * rng.choice([1, 1, -1], 3)  # most inhibit, some activate
    of_bits = (rng.random((config.bits, config.regulators)) < 0.1) * rng.normal(
        0, 0.25, (config.bits, config.regulators)
    )
    efficacy = targets[family] * rng.lognormal(0, 0.3, config.compounds)[:, None] + bits @ of_bits
    half = 5 * rng.lognormal(0, 0.8, config.families)[family] * rng.lognormal(0, 0.5, config.compounds)
    return bits.astype(np.float32), efficacy, half
