"""New simulated patients for every crop, and differences between people that no diagnosis implies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.prepare.writing import prepare_store
from anyjepa.data.ecg.simulated.fresh import FreshPatients
from anyjepa.data.ecg.simulated.simulator import CLASSES, SimulatorConfig, fresh_recording, simulate, simulate_patient
from anyjepa.data.ecg.source import training_arrays, training_data
from anyjepa.data.records import Records
from anyjepa.errors import InputError
from anyjepa.randomness import generator
from anyjepa.recipes.schema import load_recipe


@pytest.fixture(scope="module")
def dataset() -> FreshPatients:
    simulator = SimulatorConfig(patients=22, fs=100, spread=1, fresh=True)
    data = training_data(EcgDataConfig(fs=100, duration_s=5, simulator=simulator), [])
    assert isinstance(data, FreshPatients)
    return data


THREE = np.stack([r.signal for r in simulate(SimulatorConfig(patients=3, fs=100, duration_s=8))])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three records of 8 s."""
    np.savez(tmp_path / "records.npz", signals=THREE, fs=100, leads=LEADS, unit="mV")
    return tmp_path / "records.npz"


@given(order=st.permutations(range(6)), record=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_a_crop_depends_on_its_position_alone(dataset, order, record):
    whole, starts = dataset.crops([0] * 6, [generator(3, "crop", place) for place in range(6)])
    again, began = dataset.crops([record] * 6, [generator(3, "crop", place) for place in order])
    assert (again == whole[list(order)]).all()
    assert (began == starts[list(order)]).all()


def test_every_crop_is_of_another_patient(dataset):
    x, _ = dataset.crops([0] * 200, [generator(0, "crop", place) for place in range(200)])
    assert len({crop.tobytes() for crop in x}) == 200
    assert np.isfinite(x).all()
    assert dataset.description == "simulated patients, a new one in every crop"
    seen = {
        s for place in range(200) for s in fresh_recording(dataset.simulator, generator(0, "crop", place)).statements
    }
    assert seen == set(CLASSES)


def test_without_fresh_crops_are_of_the_records():
    config = EcgDataConfig(fs=100, duration_s=10, simulator=SimulatorConfig(patients=22, fs=100))
    data = training_data(config, [])
    x, _ = data.crops([0], [generator(0, "crop", 0)])
    assert (x[0] == data[0]).all()


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_normal_rate_and_a_long_pr_stay_so_in_every_person(seed):
    def beats(condition):
        return next(simulate_patient(SimulatorConfig(classes=(condition,), patients=1, seed=seed, spread=1.5), 0))

    recording, normal = beats("NORM")
    assert 55 < 60 / np.median(np.diff(normal.onsets)) < 110
    assert beats("AVB1")[1].pr_s > 0.2
    assert 0 < normal.pr_s < 0.2
    first, second, third = (recording.signal[LEADS.index(lead)] for lead in ("I", "II", "III"))
    assert np.allclose(third, second - first, atol=1e-5 * np.abs(recording.signal).max())


def test_spread_makes_amplitudes_and_rates_differ():
    def ranges(spread):
        config = SimulatorConfig(patients=80, fs=100, classes=("LBBB",), spread=spread, noise=0, seed=1)
        return np.log([np.ptp(recording.signal[LEADS.index("V5")]) for recording in simulate(config)]).std()

    assert ranges(1.0) > 1.5 * ranges(0.0)


def test_the_recipe_draws_new_patients():
    recipe, _ = load_recipe("ecg-jepa-sim", ["data.simulator.patients=22"])
    assert isinstance(training_data(recipe.data, []), FreshPatients)


def test_files_and_simulated_patients_share_the_crops(file):
    config = EcgDataConfig(fs=100, duration_s=5, simulated_share=0.25, simulator=SimulatorConfig(fs=100, spread=1))
    data = training_data(config, [file])
    records = training_data(config.model_copy(update={"simulated_share": 0.0}), [file])
    assert data.ids == records.ids
    assert data.preprocessing == records.preprocessing
    assert data.longest == 800
    assert data.description == f"{records.description}; 0.25 of the crops show new simulated patients instead"
    x, starts = data.crops([1] * 400, [generator(0, "crop", place) for place in range(400)])
    real = np.array([np.array_equal(crop, records[1][:, n : n + 500]) for crop, n in zip(x, starts, strict=True)])
    assert 0.65 < real.mean() < 0.85
    assert len({crop.tobytes() for crop in x[~real]}) == (~real).sum()


def test_a_share_of_simulated_patients_needs_records():
    with pytest.raises(InputError, match="pass --data"):
        training_data(EcgDataConfig(simulated_share=0.5), [])


def test_a_store_and_simulated_patients_share_the_crops(file, tmp_path):
    prepare_store([file], tmp_path / "store", fs=100, leads=LEADS)
    config = EcgDataConfig(fs=100, duration_s=5, simulated_share=0.5, simulator=SimulatorConfig(fs=100))
    data = training_data(config, [tmp_path / "store"])
    x, _ = data.crops([0] * 20, [generator(0, "crop", place) for place in range(20)])
    assert np.isfinite(x).all()
    assert data.lengths.tolist() == [800] * 3
    assert data.longest == 800


def test_arrays_and_simulated_patients_share_the_crops():
    config = EcgDataConfig(fs=100, duration_s=5, simulated_share=1.0, simulator=SimulatorConfig(fs=100))
    records = Records.of(THREE)
    assert isinstance(training_arrays(config, records, fs=100, leads=LEADS), FreshPatients)


def test_both_inputs_of_a_pair_show_one_patient(file):
    simulator = SimulatorConfig(fs=100, duration_s=8)
    data = training_data(EcgDataConfig(fs=100, duration_s=8, simulated_share=0.5, simulator=simulator), [file])
    first, second = ([generator(seed, "crop", place) for place in range(20)] for seed in (0, 1))
    x, pair = data.pairs([1] * 20, first, second, 0)
    assert (x == pair.other).all()  # a crop is a whole record here
    assert 5 < (x == data[1]).all((1, 2)).sum() < 15


def test_a_crop_longer_than_a_simulated_record_is_one_line(file):
    simulator = SimulatorConfig(fs=100, duration_s=5)
    config = EcgDataConfig(fs=100, duration_s=8, simulated_share=0.5, simulator=simulator)
    with pytest.raises(InputError, match="simulated records are 5 s long, a crop needs 8 s"):
        training_data(config, [file])


def test_a_lead_that_the_simulator_lacks_is_one_line(tmp_path):
    np.savez(tmp_path / "records.npz", signals=THREE[:, :2], fs=100, leads=["II", "V7"], unit="mV")
    config = EcgDataConfig(fs=100, leads=("II", "V7"), duration_s=8, simulated_share=0.5)
    with pytest.raises(InputError, match=r"data\.leads: the simulator has no lead 'V7'; it has I, II"):
        training_data(config, [tmp_path / "records.npz"])


def test_constants_of_each_store_and_simulated_patients_are_refused():
    with pytest.raises(ValidationError, match="simulated_share does not work with mixture or standardise=each"):
        EcgDataConfig(simulated_share=0.5, standardise="each")
