from __future__ import annotations

import warnings
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.signal import resample_poly

from anyjepa.data.ecg.arrays import from_arrays
from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.leads import LEADS, LIMB
from anyjepa.data.ecg.preprocessing import (
    EcgPreprocessing,
    MissingLeads,
    align,
    derived_leads,
    fit_statistics,
    highpass,
    resample,
)
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.source import Selection, training_set
from anyjepa.errors import DataWarning, InputError


def ecg_like(leads: int = 12, samples: int = 2000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(leads, samples)).cumsum(1).astype(np.float32) / 30


def statistics(recordings: list[Recording], fs: float, leads: tuple[str, ...], **how: Any) -> Any:
    return fit_statistics(leads, [align(recording, fs, leads, **how) for recording in recordings])


def fitted_to(recordings: list[Recording], duration_s: float = 1, **settings: Any) -> EcgPreprocessing:
    """The preprocessing of a training set of these recordings."""
    named = [replace(recording, id=str(number)) for number, recording in enumerate(recordings)]
    config = EcgDataConfig(duration_s=duration_s, **settings)
    return training_set(config, Selection(named, {})).preprocessing


def recording(signal: np.ndarray, leads: tuple[str, ...] = LEADS, fs: float = 500.0) -> Recording:
    return Recording("r", signal, fs, leads, file="records/r.hea")


def preprocessing(leads: tuple[str, ...] = LEADS, **changes: object) -> EcgPreprocessing:
    n = len(leads)
    return EcgPreprocessing(
        **{"fs": 500.0, "leads": leads, "samples": 1000, "mean": (0.1,) * n, "std": (0.5,) * n} | changes
    )


@given(order=st.permutations(range(12)))
@settings(deadline=None, max_examples=20)
def test_the_order_of_leads_in_the_record_does_not_matter(order: list[int]) -> None:
    signal = ecg_like()
    shuffled = recording(signal[order], tuple(LEADS[i] for i in order))
    np.testing.assert_array_equal(preprocessing().prepare(shuffled), preprocessing().prepare(recording(signal)))


@given(unit=st.sampled_from([("uV", 1e3), ("V", 1e-3), ("nV", 1e6), (0.005, 200.0)]))
@settings(deadline=None, max_examples=8)
def test_the_unit_of_the_array_does_not_matter(unit: tuple[str | float, float]) -> None:
    signal = ecg_like().astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaled, plain = (
            from_arrays(x, fs=500, leads=LEADS, unit=u)[0] for x, u in [(signal * unit[1], unit[0]), (signal, "mV")]
        )
    np.testing.assert_allclose(preprocessing().prepare(scaled), preprocessing().prepare(plain), atol=1e-5)


@given(
    fs=st.sampled_from([100, 125, 128, 250, 257, 360, 400, 500, 512, 977, 1000, 499.98]),
    samples=st.integers(1, 2000),
)
@settings(deadline=None, max_examples=25)
def test_resampling_keeps_the_duration(fs: float, samples: int) -> None:
    resampled = resample(np.ones((2, samples), np.float32), fs, 500.0)
    assert abs(resampled.shape[1] / 500.0 - samples / fs) <= 1 / 500.0 + 1e-6 * samples / fs
    np.testing.assert_allclose(resampled, 1.0, atol=1e-6)


@pytest.mark.parametrize("fs", [257, 360, 400, 1000, 499.9999999])
def test_resampling_is_that_of_scipy(fs: float) -> None:
    signal = np.random.default_rng(0).normal(size=(2, 900)).astype(np.float32)
    ratio = Fraction(500 / fs).limit_denominator(1000)
    offset = signal.mean(axis=1, keepdims=True, dtype=np.float64)  # is removed while filtering
    scipys = resample_poly(signal - offset, ratio.numerator, ratio.denominator, axis=1, padtype="antireflect")
    np.testing.assert_allclose(resample(signal, fs, 500.0), scipys + offset, atol=1e-6)


@pytest.mark.parametrize("fs", [257, 360, 400, 1000])
def test_resampling_adds_no_step_at_the_edges(fs: int) -> None:
    def wave(times: np.ndarray) -> np.ndarray:
        return 3 + np.sin(2 * np.pi * 5 * times + 1)

    resampled = resample(wave(np.arange(10 * fs) / fs)[None], fs, 500)[0]
    error = np.abs(resampled - wave(np.arange(5000) / 500))
    assert error.max() < 5e-3


@given(gaps=st.lists(st.tuples(st.integers(0, 299), st.integers(1, 80)), min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_gaps_are_filled_on_a_straight_line_and_nothing_else_changes(gaps: list[tuple[int, int]]) -> None:
    line = np.linspace(-1, 2, 400, dtype=np.float32)[None]
    holed = line.copy()
    for start, length in gaps:
        holed[:, start : start + length] = np.nan
    valid = np.flatnonzero(~np.isnan(holed[0]))
    filled = align(recording(holed, ("II",)), 500.0, ("II",))
    inside = slice(valid[0], valid[-1] + 1)
    np.testing.assert_allclose(filled[:, inside], line[:, inside], atol=1e-5)
    assert (filled[0, : valid[0]] == line[0, valid[0]]).all()
    with pytest.raises(InputError, match="invalid samples, the first at"):
        align(recording(holed, ("II",)), 500.0, ("II",), gaps="refuse")


def test_a_lead_without_a_valid_sample_is_refused() -> None:
    signal = ecg_like()
    signal[4] = np.nan
    for missing in ("refuse", "zero"):
        with pytest.raises(InputError, match=r"records/r\.hea: lead 'aVL' has no valid sample"):
            align(recording(signal), 500.0, LEADS, missing_leads=missing)


def test_nan_in_a_lead_that_nobody_needs_does_not_matter() -> None:
    signal = ecg_like()
    signal[4] = np.nan
    assert np.isfinite(align(recording(signal), 500.0, ("I", "V1"))).all()


def test_missing_limb_leads_are_computed_from_i_and_ii() -> None:
    chest = ecg_like(6, seed=1)
    i, ii = ecg_like(2)
    limb = {lead: a * i + b * ii for lead, (a, b) in LIMB.items()}
    eight = recording(np.stack([i, ii, *chest]), ("I", "II", *LEADS[6:]))
    assert derived_leads(eight, LEADS) == ("III", "aVR", "aVL", "aVF")
    np.testing.assert_allclose(align(eight, 500.0, LEADS), np.stack([*limb.values(), *chest]), atol=1e-6)


def test_a_missing_lead_is_named_with_what_there_is() -> None:
    without = recording(ecg_like(11), LEADS[:-1])
    is_missing = r"^records/r\.hea: lead 'V6' is missing \(12 are needed\)\. Has: I, II, .*, V5\."
    in_training = (
        r" Train on fewer with data\.leads=\[\.\.\.\], set it to zero with data\.missing_leads=zero, "
        r"mask it with data\.missing_leads=mask and objective\.encoder\.absent=true, "
        r"or skip such records with data\.on_error=skip$"
    )
    in_use = " Skip such records with --skip-errors, or use a model that was trained on these leads or with"
    with pytest.raises(InputError, match=is_missing + "$"):
        align(without, 500.0, LEADS)
    with pytest.raises(InputError, match=is_missing + in_training):
        fitted_to([without])
    with pytest.raises(InputError, match=is_missing + in_use):
        preprocessing().prepare(without)
    with pytest.raises(InputError, match=r"lead 'V66' is missing .*did you mean 'V6'"):
        align(without, 500.0, ("V66",))


def test_a_missing_lead_can_be_zero_after_standardising() -> None:
    signal = ecg_like(11)
    prepared = preprocessing(missing_leads="zero").prepare(recording(signal, LEADS[:-1], fs=400.0))
    assert (prepared[-1] == 0).all()
    full = preprocessing(LEADS[:-1]).prepare(recording(signal, LEADS[:-1], fs=400.0))
    np.testing.assert_array_equal(prepared[:-1], full)


@pytest.mark.parametrize("policy", ["refuse", "zero", "mask"])
def test_a_record_with_none_of_the_leads_is_refused(policy: MissingLeads) -> None:
    with pytest.raises(InputError, match=r"lead 'V1' is missing|has none of the leads V1, V2; it has I, aVR"):
        align(recording(ecg_like(2), ("I", "aVR")), 500.0, ("V1", "V2"), missing_leads=policy)


def test_values_are_standardised_and_clipped() -> None:
    signal = np.full((12, 10), 0.6, np.float32)
    signal[:, 5] = 100
    prepared = preprocessing().prepare(recording(signal))
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(prepared[:, 0], (0.6 - 0.1) / 0.5, atol=1e-6)
    assert (prepared[:, 5] == 5).all()


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=6), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=30)
def test_streamed_statistics_are_those_of_all_samples(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(50, 0.01, (2, size)).astype(np.float32) for size in [2, *sizes]]
    mean, std = statistics([recording(part, ("I", "II")) for part in parts], 500.0, ("I", "II"))
    whole = np.concatenate(parts, axis=1).astype(np.float64)
    np.testing.assert_allclose(mean, whole.mean(1), rtol=1e-9)
    np.testing.assert_allclose(std, whole.std(1), rtol=1e-6)


def test_statistics_of_a_lead_that_some_lack_come_from_those_that_have_it() -> None:
    both, one = ecg_like(2, seed=1), ecg_like(1, seed=2)
    mixed = [recording(one, ("V1",)), recording(both, ("V1", "V2")), recording(one, ("V1",))]
    mean, std = statistics(mixed, 500.0, ("V1", "V2"), missing_leads="zero")
    assert mean[1] == pytest.approx(both[1].mean(dtype=np.float64))
    assert std[1] == pytest.approx(both[1].std(dtype=np.float64))


@pytest.mark.parametrize("spoil", ["baseline", "one sample", "unit"])
@pytest.mark.parametrize("records", [1, 2, 9])
def test_one_absurd_record_does_not_ruin_the_statistics_of_the_others(spoil: str, records: int) -> None:
    good = [ecg_like(3, seed=number) for number in range(records)]
    absurd = ecg_like(3, seed=99)
    if spoil == "unit":
        absurd *= 1000
    else:
        absurd[1, slice(None) if spoil == "baseline" else 40] = 2147483.648
    expected = statistics([recording(x, LEADS[:3]) for x in good], 500.0, LEADS[:3])
    with pytest.warns(DataWarning, match=r"leads more than 100 times as large.* \((I, II, III|II)\)"):
        mean, std = statistics([recording(x, LEADS[:3]) for x in (absurd, *good)], 500.0, LEADS[:3])
    np.testing.assert_allclose((mean[1], std[1]), np.array(expected)[:, 1], rtol=1e-9)
    if spoil != "unit":  # its other leads count
        both = np.concatenate([absurd[0], *(x[0] for x in good)]).astype(np.float64)
        np.testing.assert_allclose((mean[0], std[0]), (both.mean(), both.std()), rtol=1e-6)


def test_a_unit_that_is_wrong_everywhere_stays_usable() -> None:
    records = [ecg_like(2, seed=number) for number in range(4)]
    plain = statistics([recording(x, LEADS[:2]) for x in records], 500.0, LEADS[:2])
    large = statistics([recording(1000 * x, LEADS[:2]) for x in records], 500.0, LEADS[:2])
    np.testing.assert_allclose(large, 1000 * np.array(plain), rtol=1e-5)


def test_a_lead_that_is_mostly_flat_keeps_the_records_in_which_it_varies() -> None:
    records = [np.zeros((1, 100), np.float32)] * 5 + [ecg_like(1)]
    _, std = statistics([recording(x, ("I",)) for x in records], 500.0, ("I",))
    assert std[0] == pytest.approx(np.concatenate(records, axis=1).std(dtype=np.float64))


def test_statistics_need_a_lead_that_varies_and_is_there() -> None:
    flat = ecg_like()
    flat[7] = 0.3
    with pytest.raises(InputError, match="lead 'V2' is flat in every training record"):
        fitted_to([recording(flat), recording(flat)])
    with pytest.raises(InputError, match="no training record has lead 'V2'"):
        fitted_to([recording(ecg_like(1), ("V1",))], leads=("V1", "V2"), missing_leads="zero")
    with pytest.raises(InputError, match="no training record has lead 'I'"):
        fitted_to([])


def test_a_record_that_cannot_be_aligned_can_be_left_out_of_the_statistics() -> None:
    good, bad = recording(ecg_like()), recording(ecg_like(1), ("V1",))
    with pytest.raises(InputError, match="is missing"):
        fitted_to([bad, good])
    assert fitted_to([bad, good], on_error="skip") == fitted_to([good])


def test_preprocessing_survives_json_and_refuses_what_does_not_fit() -> None:
    fitted = fitted_to([recording(ecg_like())], leads=["avr", "II"], fs=250, duration_s=2.5)
    assert fitted.leads == ("aVR", "II")
    assert fitted.samples == 625
    assert EcgPreprocessing.model_validate_json(fitted.model_dump_json()) == fitted
    for changes in ({"mean": (0.0,)}, {"leads": ("I", "I"), "mean": (0, 0), "std": (1, 1)}, {"std": (0.0,) * 12}):
        with pytest.raises(ValidationError):
            preprocessing(**changes)
    for changes in ({"fs": 1e12}, {"fs": 1}, {"fs": np.nan}, {"mean": (np.nan,) * 12}, {"std": (np.inf,) * 12}):
        with pytest.raises(ValidationError):
            preprocessing(**changes)
    assert preprocessing(leads=[lead.lower() for lead in LEADS]).leads == LEADS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signal": np.zeros((3, 10))}, r"2 leads are named, the signal has shape \(3, 10\)"),
        ({"signal": np.zeros(10)}, "it must be"),
        ({"signal": np.zeros((2, 0))}, "is empty"),
        ({"signal": np.full((2, 5), np.inf)}, "lead 'I' has values that are infinite"),
        ({"signal": np.full((2, 5), 1e300)}, "lead 'I' has values that are infinite"),
        (
            {"signal": np.array([[0, 1.0], [np.nan, -2e12]])},
            "lead 'II' has values that are infinite or beyond 1e\\+12 mV",
        ),
        ({"leads": ("II", "Lead II")}, "lead 'II' occurs more than once"),
        ({"fs": 0}, "sampling rate is 0 Hz"),
        ({"fs": -500}, "sampling rate"),
        ({"fs": 5e6}, "sampling rate"),
        ({"fs": float("nan")}, "sampling rate"),
    ],
)
def test_a_recording_whose_parts_do_not_fit_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"^record 'a'.*{message}"):
        Recording(**{"id": "a", "signal": np.zeros((2, 5)), "fs": 500, "leads": ("I", "II")} | changes)


def test_the_high_pass_takes_wander_out_and_leaves_the_rest_in_place() -> None:
    """Against the difference equation run forward and backward, as the official code runs it."""
    from scipy.signal import butter, filtfilt

    time_s = np.arange(0, 20, 1 / 400)
    beats, wander = np.sin(2 * np.pi * 5 * time_s), 3 + np.sin(2 * np.pi * 0.1 * time_s)
    filtered = highpass(np.stack([beats + wander, beats]).astype(np.float32), 400, 0.5)
    middle = slice(1600, -1600)
    np.testing.assert_allclose(filtered[0][middle], beats[middle], atol=0.01)
    np.testing.assert_allclose(filtered[0], filtfilt(*butter(4, 0.5, "highpass", fs=400), beats + wander), atol=1e-3)
    assert np.isnan(highpass(np.full((1, 50), np.nan, np.float32), 400, 0.5)).all()  # a missing lead stays missing
    assert highpass(np.ones((2, 1), np.float32), 400, 0.5).shape == (2, 1)


def test_the_high_pass_is_a_setting_and_acts_at_the_records_own_rate() -> None:
    signal = ecg_like(2, 4000) + np.linspace(0, 9, 4000, dtype=np.float32)
    drifting = recording(signal, ("I", "II"), fs=400)
    aligned = align(drifting, 500, ("I", "II"), highpass_hz=0.5)
    np.testing.assert_array_equal(aligned, resample(highpass(signal, 400, 0.5), 400, 500))
    fitted = fitted_to([drifting], leads=("I", "II"), duration_s=1, highpass_hz=0.5)
    assert EcgPreprocessing.model_validate_json(fitted.model_dump_json()) == fitted
    assert fitted.std == pytest.approx(aligned.std(axis=1), rel=1e-4)
    prepared = fitted.prepare(drifting)
    assert abs(float(prepared.mean())) < 0.01
    assert fitted_to([drifting], leads=("I", "II"), duration_s=1).std > fitted.std


def test_restoring_gives_mv_or_standard_deviations_of_the_record() -> None:
    signal = ecg_like()
    own = preprocessing(clip=None)
    np.testing.assert_allclose(own.restore(own.standardise(signal), ""), signal, atol=1e-5)
    by_record = preprocessing(clip=None, by_record=True)
    prepared = by_record.standardise(signal)
    np.testing.assert_array_equal(by_record.restore(prepared, ""), prepared)
