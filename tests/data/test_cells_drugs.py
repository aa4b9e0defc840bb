"""The simulated drug screen, features that a screen brings, and splits by amounts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from anyjepa.config import validated
from anyjepa.data.cells.drug_simulator import DrugSimulatorConfig, simulate_drugs
from anyjepa.data.cells.encoding import REST, EncodingConfig, fit_encoding
from anyjepa.data.cells.source import CellDataConfig, training_data
from anyjepa.data.cells.splits import UnseenAmount, UnseenPerturbation, split
from anyjepa.errors import InputError

SMALL = DrugSimulatorConfig(genes=60, regulators=12, families=4, compounds=12, bits=24, cells=40, controls=200)


@pytest.fixture(scope="module")
def screen():
    return simulate_drugs(SMALL)


def test_the_truth_is_what_cells_are_on_average(screen):
    assert screen.truth.shape == (1 + 12 * 4, 60)
    assert np.abs(screen.means() - screen.truth).mean() < 0.2
    assert np.array_equal(simulate_drugs(SMALL).values, screen.values)
    assert not np.array_equal(simulate_drugs(SMALL.model_copy(update={"seed": 1})).values, screen.values)


def test_effects_grow_with_the_dose_and_saturate(screen):
    sizes = np.linalg.norm(screen.truth[1:] - screen.truth[0], axis=1).reshape(12, 4).mean(0)
    assert (np.diff(sizes) > 0).all()
    assert sizes[3] - sizes[2] < sizes[2] - sizes[1]
    assert [str(condition) for condition in screen.conditions[:5]] == ["control", "D0@0.1", "D0@1", "D0@10", "D0@100"]


def test_compounds_of_a_family_are_alike_in_fingerprint_and_effect(screen):
    bits = np.stack(list(screen.features.values()))
    assert set(np.unique(bits)) == {0, 1}
    top = (screen.truth - screen.truth[0])[4::4]
    same = (np.arange(12)[:, None] - np.arange(12)) % 4 == 0
    for alike in (np.corrcoef(bits), np.corrcoef(top - top.mean(0))):
        assert alike[same & ~np.eye(12, dtype=bool)].mean() > alike[~same].mean() + 0.4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"regulators": 201}, "exceeds the number of genes"), ({"doses": (1, 1)}, "a dose occurs twice")],
)
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        DrugSimulatorConfig(**wrong)


def test_a_screen_brings_its_features(screen):
    chosen = EncodingConfig(by="table", width=24 + REST)
    encoding = fit_encoding(chosen, screen, screen.controls)
    token = encoding.encode([screen.conditions[7]])[0][0, 0]  # D1@10
    np.testing.assert_array_equal(token[:24], screen.features["D1"])
    np.testing.assert_allclose(token[-4:], [np.log1p(10), 1, 0, 0], rtol=1e-6)
    with pytest.raises(InputError, match="simulator: has no features of perturbations"):
        fit_encoding(chosen, replace(screen, features=None), screen.controls)


def test_a_tested_compound_is_at_no_dose_in_training(screen):
    done = split(screen, UnseenPerturbation(), seed=0)
    tested = {name for number in done.conditions for name in screen.conditions[number].names}
    assert len(done.conditions) == 4 * len(tested)
    dataset = training_data(
        validated(
            CellDataConfig,
            {
                "simulator": SMALL.model_dump(),
                "genes": 60,
                "split": {"kind": "perturbation"},
                "encoding": {"by": "table", "width": 24 + REST},
            },
            "data",
        ),
        [],
    )
    trained = {
        name for number in dataset.screen.condition[dataset.rows] for name in dataset.screen.conditions[number].names
    }
    assert not tested & trained
    assert set(dataset.preprocessing.encoding.names) > tested  # a fingerprint is known beforehand


def test_the_highest_dose_is_held_out(screen):
    done = split(screen, UnseenAmount(of="dose", above=10), seed=0)
    assert {one.dose for number in done.conditions for one in screen.conditions[number]} == {100}
    assert len(done.conditions) == 12
    assert set(screen.controls) <= set(done.train.tolist())
    assert not len(done.unused)
    with pytest.raises(InputError, match="the test part is empty"):
        split(screen, UnseenAmount(of="time", above=0), seed=0)
