"""The head on a frozen representation: its parts by hand, what it learns, what it does not know."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from perturbed_effects import drawn

from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.data.cells.splits import UnseenCombination, split
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.methods.head import Head, HeadConfig, latent_head
from anyjepa.perturbation.methods.representations import components, shared
from anyjepa.perturbation.scoring.baselines import additive
from anyjepa.perturbation.scoring.effects import Effects
from anyjepa.perturbation.scoring.evaluate import evaluate_methods

ONE, PAIR = frozenset({"g0"}), frozenset({"g0", "g1"})


def itself(cells: np.ndarray) -> np.ndarray:
    return cells


def test_one_perturbation_is_its_vector_and_several_are_damped() -> None:
    head = Head(HeadConfig(), 3, 4)
    head.vectors.data.normal_()
    sets = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])
    found = head(sets)
    torch.testing.assert_close(found[0], head.vectors[0])
    kept = 1 - torch.sigmoid(torch.tensor(-3.0))
    torch.testing.assert_close(found[1], kept * (head.vectors[1] + head.vectors[2]))  # the interaction starts at zero
    assert not found[2].any()  # nothing done changes nothing
    head.mixed[-1].bias.data += 1
    torch.testing.assert_close(head(sets)[1] - found[1], torch.full((4,), 0.3))
    torch.testing.assert_close(head(sets)[[0, 2]], found[[0, 2]])


def test_it_learns_that_doubles_are_less_than_the_sum() -> None:
    """Two of six doubles are held out; the others show that pairs have .8 of the sum."""
    whole = drawn(doubles=6)
    test = np.zeros(len(whole.conditions), bool)
    test[-2:] = True
    effects = Effects(**{**vars(whole), "test": test})
    asked = effects.held_out
    lost = {
        name: np.square(fit(effects.train)(asked.perturbed, asked.control) - asked.change).mean()
        for name, fit in {"head": latent_head(itself), "additive": additive}.items()
    }
    assert lost["head"] < 0.8 * lost["additive"]


def test_the_same_seed_gives_the_same_numbers_and_unknown_perturbations_have_none() -> None:
    train, control = drawn().train, np.zeros((3, 30))
    fits = [latent_head(itself, HeadConfig(steps=5), seed)(train) for seed in (0, 0)]
    asked = [ONE, frozenset({"g0", "nowhere"}), PAIR]
    first, second = (predict(asked, control) for predict in fits)
    np.testing.assert_array_equal(first, second)
    assert np.isnan(first).any(1).tolist() == [False, True, False]
    assert np.isnan(fits[0]([frozenset({"nowhere"})], control[:1])).all()


@pytest.mark.long
def test_unseen_doubles_of_simulated_screens() -> None:
    """Two screens, 20 unseen doubles each, on 100 components: half of additive's error where it counts, and closer than
    any baseline."""
    parts = []
    for seed in (0, 1):
        screen = simulate(CellSimulatorConfig(seed=seed))
        done = split(screen, UnseenCombination(test=0.5, validation=0.025), seed)
        parts.append(effects_of(screen, done.conditions, f"{seed}: "))
    fit = shared(lambda train: components(train, 100))
    result = evaluate_methods(parts, {"head": [lambda train: latent_head(fit(train))(train)]}, "simulated screens")
    rows = {row.name: {name: value.mean for name, value in row.metrics.items()} for row in result.rows}
    head, sums, scaled = rows["head"], rows["additive"], rows["0.7 x additive"]
    assert head["top20_mse"] < 0.5 * sums["top20_mse"]
    assert head["l2"] < scaled["l2"]
    assert head["pearson_delta"] > sums["pearson_delta"] - 0.02
    assert head["discrimination"] >= 0.98
    assert abs(rows["head, shuffled"]["pearson_vs_mean"]) < 0.15
