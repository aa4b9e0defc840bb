"""Genes that training does not perturb: by hand, by a table, and on two small simulated screens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from perturbed_effects import drawn

from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.data.cells.splits import UnseenPerturbation, split
from anyjepa.errors import InputError
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.head import HeadConfig, latent_head
from anyjepa.perturbation.methods.unseen import Unseen
from anyjepa.perturbation.scoring.evaluate import evaluate_methods

SHORT = HeadConfig(steps=300)


def itself(cells: np.ndarray) -> np.ndarray:
    return cells


def test_the_factor_is_learned_and_the_slope_is_that_of_the_gene() -> None:
    """Cells vary along genes 0 to 5, which move all others; known changes are -2 times that."""
    r = np.random.default_rng(1)
    slopes = np.c_[np.eye(6), r.normal(0, 1, (6, 24))]
    x = r.normal(0, 1, (4000, 6)) @ slopes
    unseen = Unseen(drawn(doubles=0), [f"g{i}" for i in range(5)], 1 - 2 * slopes[:5], x, x, np.eye(30))
    assert unseen.factor == pytest.approx(-2, abs=0.7)  # the ridge shortens slopes, and the factor makes up for it
    found, expected = unseen.change("g5"), -2 * (slopes[5] - slopes[:5].mean(0))
    assert found is not None
    np.testing.assert_allclose(found[6:], expected[6:], atol=0.25)
    assert unseen.change("nowhere") is None


def test_a_gene_falls_to_the_share_that_training_leaves() -> None:
    effects = drawn(doubles=0).train
    row = [effects.genes.index(next(iter(one))) for one in effects.perturbed]
    mean = effects.control.copy()
    for i, gene in enumerate(row):
        mean[i, gene] = np.log1p(0.25 * np.expm1(effects.control[i, gene]))
    unseen = Unseen(replace(effects, mean=mean), [], np.zeros((1, 30)), np.eye(30), np.eye(30), np.eye(30))
    control = np.full(30, np.log1p(8.0))
    gene, change = unseen.own_change("g1", control) or (None, None)
    assert gene == 1
    assert change == pytest.approx(np.log1p(2.0) - np.log1p(8.0))
    assert unseen.own_change("nowhere", control) is None


def test_a_table_tells_of_genes_outside_of_the_panel() -> None:
    """Genes named apart from the panel, of two kinds that only the table knows."""
    whole = drawn(singles=12, doubles=0)
    kind = np.arange(12) % 2
    change = np.random.default_rng(2).normal(0, 1, (2, 30))[kind]
    names = [f"x{i}" for i in range(12)]
    effects = replace(whole, perturbed=tuple(frozenset({name}) for name in names), mean=whole.control + change)
    table = {name: np.eye(2)[k] for name, k in zip(names, kind, strict=True)}
    asked = effects.held_out
    fit = latent_head(itself, SHORT, features=table)(effects.train)
    np.testing.assert_allclose(fit(asked.perturbed, asked.control), asked.change, atol=0.35)
    none = latent_head(itself, SHORT)(effects.train)(asked.perturbed, asked.control)
    assert np.isnan(none).all()
    with pytest.raises(InputError, match="features of gene 'x0' are not finite"):
        latent_head(itself, SHORT, features=table | {"x0": np.array([np.nan, 0])})(effects.train)


def test_unseen_singles_of_two_small_screens() -> None:
    """Better than both ridges; known perturbations and doubles of one unseen part have answers as well."""
    parts = []
    for seed in (0, 1):
        config = CellSimulatorConfig(
            seed=seed, genes=150, regulators=30, singles=30, doubles=10, cells=60, controls=500
        )
        screen = simulate(config)
        parts.append(
            effects_of(screen, split(screen, UnseenPerturbation(test=0.25, validation=0.04), seed), f"{seed}: ")
        )
        tested = {name for one in parts[-1].held_out.perturbed for name in one}
        assert not any(one & tested for one in parts[-1].train.perturbed)
    result = evaluate_methods(parts, {"head": [latent_head(itself, SHORT)]}, "small screens")
    rows = {row.name: {name: value.mean for name, value in row.metrics.items()} for row in result.rows}
    for ridge in ("ridge (G W P')", "ridge on co-expression"):
        assert rows["head"]["pearson_vs_mean"] > rows[ridge]["pearson_vs_mean"] + 0.05
        assert rows["head"]["top20_mse"] < rows[ridge]["top20_mse"]
        assert rows["head"]["discrimination"] > rows[ridge]["discrimination"]
    train, asked = parts[0].train, parts[0].held_out
    seen, new = min(min(one) for one in train.perturbed), min(asked.perturbed[0])
    answers = latent_head(itself, SHORT)(train)([frozenset({seen, new}), frozenset({seen})], asked.control[:2])
    assert np.isfinite(answers).all()
    assert not np.allclose(answers[0], answers[1])
