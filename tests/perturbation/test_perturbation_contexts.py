"""Conditions in contexts: their effects by hand, what the control state adds, and two real screens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anyjepa.data.cells.files import CellFileConfig, read_h5ad
from anyjepa.data.cells.qc import QualityConfig
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.data.cells.splits import ByCell, UnseenContext, UnseenPerturbation, split
from anyjepa.errors import InputError
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.unseen import Contexts
from anyjepa.perturbation.scoring.baselines import perturbed_mean, same_elsewhere
from anyjepa.perturbation.scoring.evaluate import evaluate_methods

SMALL = CellSimulatorConfig(genes=30, regulators=6, singles=6, doubles=2, cells=20, controls=60, batches=3)


def test_a_condition_in_a_context_is_against_the_controls_of_that_context() -> None:
    screen = simulate(SMALL)
    done = split(screen, UnseenContext(label="batch", name="batch1"), 0)
    effects = effects_of(screen, done, "one: ")
    assert len(effects.conditions) == 8 * 3
    name = f"{screen.conditions[1]}"
    at = effects.conditions.index(f"one: {name}")  # tested: a name without its context
    own = (screen.condition == 1) & (screen.batch.codes == 1)
    beside = (screen.condition == 0) & (screen.batch.codes == 1)
    mean, control = (screen.rows(np.flatnonzero(of)).mean(0) for of in (own, beside))
    np.testing.assert_allclose(effects.change[at], mean - control, atol=1e-5)
    assert (effects.count[at], effects.test[at], effects.test.sum()) == (own.sum(), True, 8)
    assert f"one: {name} in batch0" in effects.train.conditions
    cells, controls = effects.cells(f"one: {name}")
    np.testing.assert_allclose(controls.mean(0), control, atol=1e-5)
    np.testing.assert_allclose(cells.mean(0), mean, atol=1e-5)


def test_a_tested_perturbation_is_tested_in_every_context_and_unused_conditions_are_not_there() -> None:
    screen = simulate(SMALL)
    apart = effects_of(screen, [2], context="batch")
    assert set(apart.held_out.conditions) == {f"{screen.conditions[2]} in batch{b}" for b in range(3)}
    done = split(screen, UnseenPerturbation(test=0.2, validation=0.2), 0)
    effects = effects_of(screen, done)
    assert not any(one & done.names for one in effects.train.perturbed)
    assert all(one <= done.names for one in effects.held_out.perturbed)


def test_what_has_no_effects_is_said() -> None:
    screen = simulate(SMALL)
    with pytest.raises(InputError, match="a split by cell holds out no condition"):
        effects_of(screen, split(screen, ByCell(), 0))
    with pytest.raises(InputError, match="the split is by batch, but context is 'cell_type'"):
        effects_of(screen, split(screen, UnseenContext(label="batch"), 0), context="cell_type")
    with pytest.raises(InputError, match="has no donor; set its column"):
        effects_of(screen, [1], context="donor")
    kept = np.flatnonzero((screen.condition != 0) | (screen.batch.codes != 2))
    with pytest.raises(InputError, match="batch 'batch2' has perturbed cells but no control cells"):
        effects_of(screen.select(kept), [1], context="batch")


def test_the_same_set_in_other_contexts() -> None:
    screen = simulate(SMALL)
    effects = effects_of(screen, split(screen, UnseenContext(label="batch", name="batch1"), 0))
    asked, train = effects.held_out, effects.train
    found = same_elsewhere(train)([*asked.perturbed[:2], frozenset({"nowhere"})], asked.control[:3])
    for i in range(2):
        same = [one == asked.perturbed[i] for one in train.perturbed]
        np.testing.assert_allclose(found[i], train.change[same].mean(0))
    assert np.isnan(found[2]).all()


def test_contexts_that_are_alike_respond_alike() -> None:
    """Two pairs of like contexts: an unseen one follows the pair that it is like; two contexts add nothing."""
    r = np.random.default_rng(0)
    states = np.array([[4.0, 0, 0], [4.2, 0, 0], [0, 4.0, 0], [0, 4.1, 0]])
    rest = np.array([[1.0, -1, 0], [1, -1, 0], [-1, 1, 0], [-1, 1, 0]])
    contexts = Contexts(
        lambda cells: cells, np.repeat(states, 5, 0), np.repeat(rest, 5, 0) + r.normal(0, 0.01, (20, 3))
    )
    found = contexts.change(np.array([[4.0, 0.1, 0], [0, 4.0, 0.1], [2.05, 2.02, 0]]))
    assert found[0, 0] > 0.5
    assert found[1, 0] < -0.5
    assert abs(found[2]).max() < 0.1
    two = Contexts(lambda cells: cells, states[1:3], rest[1:3])
    assert not two.change(states).any()
    unlike = Contexts(lambda cells: cells, states, rest[[0, 2, 1, 3]])  # alike in control, opposite in response
    assert not unlike.change(states).any()


@pytest.mark.realdata
def test_kang_2018_a_cell_type_is_foretold_by_like_ones(test_data: Path) -> None:
    """The changes of means, all genes: the control state against the mean of the other types."""
    screen = read_h5ad(test_data / "kang2018" / "scgen_valid.h5ad")
    lost = {"mean": [], "contexts": []}
    for name in screen.cell_type.names:
        effects = replace(effects_of(screen, split(screen, UnseenContext(name=name), 0), f"{name}: "), cells=None)
        train, asked = effects.train, effects.held_out
        mean = perturbed_mean(train)(asked.perturbed, asked.control)
        np.testing.assert_allclose(same_elsewhere(train)(asked.perturbed, asked.control), mean)
        told = mean + Contexts(lambda cells: cells, train.control, train.change - mean).change(asked.control)
        for row, change in (("mean", mean), ("contexts", told)):
            lost[row].append(float(np.linalg.norm(change - asked.change)))
    assert np.mean(lost["contexts"]) < 0.75 * np.mean(lost["mean"])
    assert all(np.array(lost["contexts"]) < np.array(lost["mean"]))


@pytest.mark.realdata
def test_papalexi_2021_a_replicate_is_foretold_by_the_others(test_data: Path) -> None:
    config = CellFileConfig(quality=QualityConfig(min_genes=0, max_mito=1), perturbed_by="knockout")
    screen = read_h5ad(test_data / "papalexi2021" / "papalexi2021.h5ad", config)
    effects = effects_of(screen, split(screen, UnseenContext(label="batch", name="rep_2"), 0))
    assert (len(effects.conditions), int(effects.test.sum())) == (75, 25)
    result = evaluate_methods(
        [effects],
        {"elsewhere": [same_elsewhere]},
        "rep_2",
        baselines={"perturbed mean": perturbed_mean},
        above="pearson_delta",
        shuffle=False,
    )
    rows = {row.name: row.metrics for row in result.rows}
    assert rows["elsewhere"]["pearson_vs_mean"].mean > 0.2
    assert rows["elsewhere"]["discrimination"].mean > 0.7
