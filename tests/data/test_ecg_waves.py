"""Labels per sample from annotated P, QRS and T waves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig
from anyjepa.data.ecg.source import evaluation_data, training_data
from anyjepa.data.ecg.wfdb.annotations import read_waves
from anyjepa.errors import InputError

FS = 500.0
CODES = {"N": 1, "p": 24, "t": 27, "(": 39, ")": 40}  # of the MIT annotation format


def written(folder: Path, marks: str, step: int = 50) -> Path:
    """An annotation file with a mark every `step` samples."""
    words = [CODES[mark] << 10 | step for mark in marks]
    (folder / "1.ii").write_bytes(np.array([*words, 0], "<u2").tobytes())
    return folder / "1.ii"


def test_a_wave_reaches_from_bracket_to_bracket(tmp_path):
    waves = read_waves(written(tmp_path, "(p)(N)(t)(N)"), FS, 1000)
    assert waves.names == ("P", "QRS", "T", "QRS")
    assert waves.onsets == pytest.approx([0.1, 0.4, 0.7, 1.0])
    assert waves.offsets == pytest.approx([0.3, 0.6, 0.9, 1.2])
    assert waves.scope == pytest.approx((0.1, 1.2))


@pytest.mark.parametrize(("marks", "unknown"), [("(p)N)(t)", (0.3, 0.5)), ("(p)N()(t)", (0.3, 0.6))])
def test_a_wave_without_a_bracket_before_it_is_unknown(tmp_path, marks, unknown):
    waves = read_waves(written(tmp_path, marks), FS, 1000)
    assert waves.names == ("P", "", "T")
    assert (waves.onsets[1], waves.offsets[1]) == pytest.approx(unknown)


@pytest.mark.parametrize("marks", ["((", "(p)(N"])
def test_waves_without_an_end_are_refused(tmp_path, marks):
    with pytest.raises(InputError, match=r"1\.ii: has no P, QRS or T wave with an end$"):
        read_waves(written(tmp_path, marks), FS, 1000)


def test_simulated_waves_are_where_the_signal_is():
    config = SimulatorConfig(patients=11, fs=100, noise=0)
    data = training_data(EcgDataConfig(fs=100, duration_s=10, simulator=config), [])
    places = data.places("waves")
    assert places.classes == ("none", "P", "QRS", "T")
    for signal, labels in zip(data.signals, places.labels, strict=True):
        slope = np.abs(np.gradient(signal[[LEADS.index(lead) for lead in ("I", "II", "V2", "V5")]], axis=1)).sum(0)
        assert slope[labels == 2].mean() > 3 * slope[labels != 2].mean()
    fibrillating = [r.id for r in data.tables.recordings if "AFIB" in r.statements]
    without_p = [id for id, labels in zip(places.ids, places.labels, strict=True) if not (labels == 1).any()]
    assert without_p == fibrillating


def test_other_tasks_and_records_without_waves_are_refused():
    data = training_data(EcgDataConfig(fs=100, simulator=SimulatorConfig(patients=11, fs=100)), [])
    with pytest.raises(InputError, match=r"^evaluate: there is no task 'wave'; did you mean 'waves'\?$"):
        data.places("wave")


@pytest.mark.realdata
def test_lead_two_of_ludb_has_a_twelfth_of_the_published_waves(test_data):
    simulated = training_data(EcgDataConfig(fs=500, simulator=SimulatorConfig(patients=11)), [])
    data = evaluation_data(simulated.preprocessing, [test_data / "ludb"], unit="uV")
    waves = [r.waves() for r in data.tables.recordings if r.waves]
    names = [name for one in waves for name in one.names]
    assert len(waves) == 200
    assert names.count("") < 0.02 * len(names)
    for name, published in (("P", 16797), ("QRS", 21966), ("T", 19666)):  # Kalyakulina et al. 2020, all leads
        assert names.count(name) == pytest.approx(published / 12, rel=0.02)
