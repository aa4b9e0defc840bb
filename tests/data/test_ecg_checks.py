from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.data.ecg.checks import check, warn_about
from anyjepa.data.ecg.leads import LEADS, LIMB
from anyjepa.data.ecg.recording import Recording
from anyjepa.errors import DataWarning


def twelve_leads(seed: int = 0, samples: int = 1000) -> np.ndarray:
    """Beats of about 1.5 mV that obey Einthoven and Goldberger."""
    rng = np.random.default_rng(seed)
    beat = np.exp(-(((np.arange(samples) % 400 - 200) / 8) ** 2))
    i, ii, *chest = rng.uniform(0.7, 1.8, (8, 1)) * beat + rng.normal(0, 0.01, (8, samples))
    return np.stack([*(a * i + b * ii for a, b in LIMB.values()), *chest])


def kinds(signal: np.ndarray, leads: tuple[str, ...] = LEADS) -> dict[str, str]:
    problems = check([Recording("r", signal, 500, leads)])
    return {problem.kind: problem.examples[0] for problem in problems}


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_a_good_record_has_no_problem(seed: int) -> None:
    assert kinds(twelve_leads(seed)) == {}


@pytest.mark.parametrize("factor", [0.001, 0.01, 0.1, 10, 100, 1000])
def test_a_unit_slip_is_seen(factor: float) -> None:
    advice = {1000: ": try --unit uV", 0.001: ": try --unit V"}.get(factor, "")
    off = f"{factor:g} times too large" if factor > 1 else f"{1 / factor:g} times too small"
    assert kinds(twelve_leads() * factor)["unit"].endswith(f"about {off}{advice}")


@pytest.mark.parametrize("lead", ["III", "aVR", "aVL", "aVF"])
def test_a_limb_lead_that_contradicts_the_others_is_named(lead: str) -> None:
    signal = twelve_leads()
    signal[LEADS.index(lead)] *= -1
    assert lead in kinds(signal)["einthoven"]


def test_swapped_arm_electrodes_obey_the_laws() -> None:
    # They exchange II with III and aVR with aVL and turn I over: a valid ECG of a mirrored heart.
    swapped = twelve_leads()[[0, 2, 1, 4, 3, 5, *range(6, 12)]]
    swapped[0] *= -1
    assert "einthoven" not in kinds(swapped)


def test_swapped_lead_names_contradict() -> None:
    assert "einthoven" in kinds(twelve_leads()[[1, 0, *range(2, 12)]])


def test_flat_empty_missing_large_and_gappy_leads_are_named() -> None:
    signal = twelve_leads()
    signal[6] = 0.25
    signal[7] = np.nan
    signal[8, 10:20] = np.nan
    signal[9] *= 30
    found = kinds(signal[:11], LEADS[:11])
    assert found["flat"] == "record 'r': V1"
    assert found["no signal"] == "record 'r': V2"
    assert found["gaps"] == "record 'r': V3"
    assert found["missing leads"] == "record 'r': V6"
    assert found["amplitude"].endswith("mV peak to peak")
    assert set(found) == {"flat", "no signal", "gaps", "missing leads", "amplitude"}


@pytest.mark.parametrize("leads", [1, 2, 12])
@pytest.mark.parametrize("spoil", ["offset", "one sample"])
def test_a_lead_that_no_device_can_record_is_named(spoil: str, leads: int) -> None:
    signal = twelve_leads()[-leads:]
    signal[-1, slice(None) if spoil == "offset" else 500] += 1e6
    assert kinds(signal, LEADS[-leads:]) == {"amplitude": "record 'r': V6 up to 1e+06 mV"}


def test_a_lead_that_is_too_large_even_for_a_wrong_unit_is_named() -> None:
    signal = twelve_leads() * 1000
    assert "amplitude" not in kinds(signal)
    signal[7, 500] = 1e7
    assert kinds(signal)["amplitude"] == "record 'r': V2 up to 1e+07 mV"
    assert kinds(signal)["unit"].endswith("about 1000 times too large: try --unit uV")


def test_offsets_of_electrodes_are_no_problem() -> None:
    assert kinds(twelve_leads() + 300) == {}


def test_leads_scaled_one_by_one_are_seen() -> None:
    signal = twelve_leads()
    assert "normalised" in kinds(signal / np.ptp(signal, axis=1, keepdims=True))


def test_leads_that_follow_from_others_or_were_never_meant_are_not_missing() -> None:
    signal = twelve_leads()
    assert "missing leads" not in kinds(signal[[0, 1, *range(6, 12)]], ("I", "II", *LEADS[6:]))
    assert "missing leads" not in kinds(signal[[1, 6]], ("II", "V1"))


def test_a_record_with_nothing_in_it_does_not_stop_the_check() -> None:
    assert set(kinds(np.full((2, 9), np.nan), ("II", "V1"))) == {"no signal"}
    assert set(kinds(np.zeros((2, 9)), ("II", "V1"))) == {"flat"}


def test_thousands_of_bad_records_give_one_warning_a_kind() -> None:
    bad = [Recording(f"r{i}", twelve_leads(i, 500) * 1000, 500, LEADS) for i in range(50)]
    with pytest.warns(DataWarning) as caught:
        warn_about(check(bad))
    (warning,) = caught
    text = str(warning.message)
    assert text.startswith("50 records: amplitudes are a power of ten away")
    assert "record 'r0'" in text
    assert "record 'r3'" not in text
    assert "\n" not in text


def test_no_problem_no_warning() -> None:
    with warnings.catch_warnings(action="error"):
        warn_about(check([Recording("r", twelve_leads(), 500, LEADS)]))
