"""Every class is measured on the ECG itself, from the samples, as a reader with a ruler would."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.simulated.simulator import (
    CLASSES,
    Beats,
    SimulatorConfig,
    patient_split,
    simulate,
    simulate_patient,
)

PATIENTS = 20
INDEPENDENT = [LEADS.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]


def clean(name: str, **settings) -> list[tuple[Recording, Beats]]:
    """The first record of several patients of one class, without noise, with the truth beside it."""
    config = SimulatorConfig(classes=(name,), patients=PATIENTS, noise=0, seed=7, **settings)
    return [next(simulate_patient(config, patient)) for patient in range(PATIENTS)]


class Measured:
    """R times, QRS spans and levels, found in the samples."""

    def __init__(self, recording: Recording, share: float = 0.3):
        self.fs, self.signal = recording.fs, recording.signal.astype(float)
        eight = self.signal[INDEPENDENT]
        self.slope = np.linalg.norm(np.gradient(eight, 1 / self.fs, axis=1), axis=0)  # mV/s
        energy = np.convolve(self.slope * np.linalg.norm(eight, axis=0), np.ones(round(0.08 * self.fs)), "same")
        loud = np.flatnonzero(energy > share * energy.max())
        runs = np.split(loud, np.flatnonzero(np.diff(loud) > 0.1 * self.fs) + 1)
        self.r = np.array([run[energy[run].argmax()] for run in runs]) / self.fs
        self.rr = np.diff(self.r)
        whole = self.r[(self.r > 0.6) & (self.r < recording.duration_s - 0.7)]
        self.spans = [self.span(r) for r in whole]  # (onset, end) of each QRS, s

    def span(self, r: float) -> tuple[float, float]:
        """From the steepest point outwards until the dipole rests for 20 ms."""
        low, pause = round((r - 0.16) * self.fs), round(0.02 * self.fs)
        peak = low + int(self.slope[low : low + round(0.34 * self.fs)].argmax())
        busy = self.slope > 0.1 * self.slope[peak]
        first = last = peak
        while busy[first - pause : first].any():
            first -= pause - int(busy[first - pause : first].argmax())
        while busy[last + 1 : last + 1 + pause].any():
            last += pause - int(busy[last + 1 : last + 1 + pause][::-1].argmax())
        return first / self.fs, last / self.fs

    @property
    def qrs_ms(self) -> float:
        return float(np.median([end - start for start, end in self.spans])) * 1e3

    def lead(self, name: str, begin: float = 0.0, end: float = 0.0) -> np.ndarray:
        """(beats, n) mV against the PR level, from `begin` s after QRS onset to `end` s after the QRS."""
        row, samples = self.signal[LEADS.index(name)], round((begin - end) * self.fs)
        width = round(self.qrs_ms / 1e3 * self.fs) - samples
        starts = [round((start + begin) * self.fs) for start, _ in self.spans]
        rest = [self.level(row, start) for start, _ in self.spans]
        return np.array([row[start : start + width] - zero for start, zero in zip(starts, rest, strict=True)])

    def level(self, row: np.ndarray, onset: float) -> float:
        return row[round((onset - 0.016) * self.fs) : round((onset - 0.006) * self.fs)].mean()

    def st(self, name: str) -> float:
        """Level 60 ms after the end of the QRS against the PR level, mV, median over beats."""
        row = self.signal[LEADS.index(name)]
        levels = [row[round((end + 0.06) * self.fs)] - self.level(row, start) for start, end in self.spans]
        return float(np.median(levels))

    def pr_ms(self) -> float:
        """From where the P wave of the median beat in II leaves its foot (a tenth of its height) to the QRS."""
        n, foot = round(0.45 * self.fs), round(0.11 * self.fs)
        segments = [self.signal[1, round(start * self.fs) - n : round(start * self.fs)] for start, _ in self.spans[1:]]
        beat = np.median([segment - segment[-4:].mean() for segment in segments], axis=0)
        tops = np.flatnonzero((beat[1:-1] > beat[:-2]) & (beat[1:-1] >= beat[2:]) & (beat[1:-1] > 0.03)) + 1
        peak = tops[tops < n - 0.03 * self.fs][-1]
        before = beat[peak - foot : peak] - beat[peak - foot : peak].min()
        begin = peak - int((before[::-1] < 0.1 * (beat[peak] - beat[peak - foot : peak].min())).argmax())
        return (n - begin) / self.fs * 1e3

    @property
    def sokolow_mv(self) -> float:
        r = max(float(np.median(self.lead(name).max(axis=1))) for name in ("V5", "V6"))
        return r - float(np.median(self.lead("V1").min(axis=1)))


def test_normal():
    for recording, beats in clean("NORM"):
        m = Measured(recording)
        assert 60 < 60 / m.rr.mean() < 100
        assert m.rr.std() / m.rr.mean() < 0.1
        assert 65 < m.qrs_ms < 112
        assert m.qrs_ms == pytest.approx(beats.qrs_s * 1e3, abs=12)
        assert m.sokolow_mv < 3.5
        assert max(abs(m.st(lead)) for lead in ("I", "II", "V5", "V6")) < 0.15
        medians = [np.median(m.lead(f"V{i}").max(axis=1)) for i in range(1, 7)]
        assert medians[0] < 0.6 * medians[4]  # R grows from V1 to V5


def test_atrial_fibrillation_is_irregular_and_has_no_p():
    def before_qrs(recording):  # lead II, 200 to 60 ms before QRS, of beats whose T wave is over by then
        m = Measured(recording)
        late = [start for (start, _), rr in zip(m.spans[1:], np.diff([s for s, _ in m.spans]), strict=True) if rr > 0.6]
        cut = [m.signal[1, round((start - 0.20) * m.fs) : round((start - 0.06) * m.fs)] for start in late]
        return np.array([piece - piece.mean() for piece in cut])

    for recording, beats in clean("AFIB", duration_s=40):
        m = Measured(recording)
        assert m.rr.std() / m.rr.mean() > 0.15
        assert not len(beats.p_onsets)
        pieces = before_qrs(recording)
        assert (
            np.ptp(pieces.mean(axis=0)) < 0.5 * np.median(np.ptp(pieces, axis=1)) or np.ptp(pieces.mean(axis=0)) < 0.04
        )
        assert pieces.std(axis=0).mean() > 0.004  # but waves that differ from beat to beat
    for recording, _ in clean("NORM", duration_s=40):
        pieces = before_qrs(recording)
        assert np.ptp(pieces.mean(axis=0)) > 0.9 * np.median(np.ptp(pieces, axis=1))


def test_ten_seconds_of_atrial_fibrillation_show_it():
    for recording, _ in clean("AFIB"):
        m = Measured(recording)
        assert m.rr.std() / m.rr.mean() > 0.15


def test_premature_ventricular_beats():
    for recording, _ in clean("PVC"):
        m = Measured(recording, share=0.17)
        starts, width = np.array([start for start, _ in m.spans]), np.array([end - start for start, end in m.spans])
        wide = np.flatnonzero(width > max(0.12, 1.25 * np.quantile(width, 0.3)))
        intervals = np.diff(starts)
        alone = [n for n in range(len(intervals)) if n not in wide and n + 1 not in wide]
        inner = [beat for beat in wide if 0 < beat < len(intervals)]
        assert inner
        for beat in inner:
            around = intervals[beat - 1] + intervals[beat]
            usual = np.median(intervals[alone]) if alone else around / 2
            assert intervals[beat - 1] < 0.85 * usual  # early,
            assert intervals[beat] > 1.15 * usual  # then a pause
            assert around == pytest.approx(2 * usual, rel=0.15)  # that compensates
            assert wide[wide == beat + 1].size == 0


def test_left_bundle_branch_block():
    for recording, beats in clean("LBBB"):
        m = Measured(recording)
        assert m.qrs_ms >= 120
        assert m.qrs_ms == pytest.approx(beats.qrs_s * 1e3, abs=30)
        v1, v6, one = (np.median(m.lead(lead), axis=0) for lead in ("V1", "V6", "I"))
        assert v1.min() < -0.5
        assert v1.max() < 0.25 * -v1.min()  # QS or rS
        assert (v1 < 0.3 * v1.min()).sum() / m.fs > 0.06  # broad
        assert v6.max() > 0.4
        assert v6.min() > -0.15  # no q, no S
        assert (v6 > 0.3 * v6.max()).sum() / m.fs > 0.06
        assert one.mean() > 0
        assert any(peaks(np.median(m.lead(lead), axis=0)) >= 2 for lead in ("I", "aVL", "V5", "V6"))  # notched
        assert m.st("V1") > 0 > m.st("V6")  # against the QRS


def test_right_bundle_branch_block():
    for recording, beats in clean("RBBB"):
        m = Measured(recording)
        assert m.qrs_ms >= 120
        assert m.qrs_ms == pytest.approx(beats.qrs_s * 1e3, abs=12)
        half = round(m.qrs_ms / 2e3 * m.fs)
        v1 = np.median(m.lead("V1"), axis=0)
        assert v1[half:].max() > max(0.25, v1[:half].max())  # R' over r
        assert v1[: half + 10].min() < 0 or peaks(v1) >= 2  # after an S
        for lead in ("V6", "I"):
            late = np.median(m.lead(lead), axis=0)[half:]
            assert late.min() < -0.1
            assert (late < 0.02).sum() / m.fs > 0.04  # a wide S
        assert np.median(m.lead("V6"), axis=0)[:half].max() > 0.3


def test_anterior_st_elevation():
    for recording, _ in clean("STE_ANT"):
        m = Measured(recording)
        assert min(m.st("V2"), m.st("V3")) >= 0.2
        assert min(m.st("V1"), m.st("V4")) >= 0.05
        assert max(m.st("III"), m.st("aVF")) < -0.05


def test_inferior_st_elevation():
    for recording, _ in clean("STE_INF"):
        m = Measured(recording)
        assert min(m.st("II"), m.st("III"), m.st("aVF")) >= 0.1
        assert m.st("aVL") < -0.05
        assert m.st("I") < -0.02


def test_left_ventricular_hypertrophy():
    for recording, _ in clean("LVH"):
        m = Measured(recording)
        assert m.sokolow_mv > 3.5
        assert m.qrs_ms < 120


@pytest.mark.parametrize(("name", "low", "high"), [("STACH", 100, 160), ("SBRAD", 35, 60)])
def test_sinus_rates(name, low, high):
    for recording, _ in clean(name):
        m = Measured(recording)
        assert low < 60 / m.rr.mean() < high
        assert m.rr.std() / m.rr.mean() < 0.1


def test_first_degree_av_block():
    for recording, beats in clean("AVB1"):
        m = Measured(recording)
        if m.rr.mean() > 0.75:  # else P begins on the T wave, and its onset cannot be seen
            assert m.pr_ms() > 200
            assert m.pr_ms() == pytest.approx(beats.pr_s * 1e3, abs=20)
    for recording, _ in clean("NORM"):
        assert 110 < Measured(recording).pr_ms() < 200


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**40), name=st.sampled_from(CLASSES), fs=st.sampled_from([100, 250, 500]))
def test_limb_leads_obey_einthoven_and_goldberger(seed, name, fs):
    config = SimulatorConfig(classes=(name,), patients=1, fs=fs, seed=seed, noise=1)
    signal = simulate(config)[0].signal.astype(float)
    one, two, three, avr, avl, avf = signal[:6]
    assert np.abs(one + three - two).max() < 1e-6
    assert np.abs(avr + (one + two) / 2).max() < 1e-6
    assert np.abs(avl - (one - three) / 2).max() < 1e-6
    assert np.abs(avf - (two + three) / 2).max() < 1e-6
    assert np.isfinite(signal).all()
    assert 0.3 < np.abs(signal).max() < 8


def test_the_waves_are_smooth():
    """No step where a beat begins or is cut off: third differences (per ms) stay those of the waves."""
    for recording in simulate(SimulatorConfig(patients=2 * len(CLASSES), fs=1000, noise=0)):
        assert np.abs(np.diff(recording.signal.astype(float), n=3, axis=1)).max() < 0.02
    for recording, beats in clean("SBRAD"):  # and nothing happens between the T and the next P
        t = np.arange(recording.signal.shape[1]) / recording.fs
        ahead = np.min(np.abs(t[:, None] - beats.p_onsets + 0.1), axis=1) < 0.06
        assert np.abs(np.diff(recording.signal, axis=1))[:, ahead[1:]].max() < 1e-3


def test_more_patients_or_records_change_nothing():
    few = simulate(SimulatorConfig(patients=12, fs=100))
    many = {r.id: r for r in simulate(SimulatorConfig(patients=15, records_per_patient=2, fs=100))}
    for recording in few:
        assert np.array_equal(recording.signal, many[recording.id].signal)
        assert (recording.patient, recording.statements) == (many[recording.id].patient, many[recording.id].statements)
    other = simulate(SimulatorConfig(patients=12, fs=100, seed=1))
    assert not any(np.array_equal(a.signal, b.signal) for a, b in zip(few, other, strict=True))
    assert not {r.id for r in few} & {r.id for r in other}


def test_records_of_a_patient_share_the_heart():
    """Median normalised beats of one patient agree more with each other than with another patient's."""
    records = simulate(SimulatorConfig(patients=11 * 6, records_per_patient=2, noise=0, classes=("NORM",)))
    shapes = []
    for recording in records:
        m = Measured(recording)
        shapes.append(
            np.concatenate([np.median(m.lead(lead)[:, :30], axis=0) for lead in ("I", "II", "V1", "V3", "V6")])
        )
    similarity = np.corrcoef(shapes)
    np.fill_diagonal(similarity, -1)
    assert np.mean(similarity.argmax(axis=1) == np.arange(len(records)) ^ 1) > 0.9


def test_the_split_is_by_patient_and_even_in_each_class():
    config = SimulatorConfig(patients=1100, shares=(0.6, 0.2, 0.2))
    split = patient_split(config)
    part = list(split.values())
    for k in range(len(CLASSES)):
        counts = Counter(part[k :: len(CLASSES)])
        assert [counts[name] for name in ("train", "validation", "test")] == pytest.approx([60, 20, 20], abs=2)
    grown = patient_split(config.model_copy(update={"patients": 1500}))
    assert split == {patient: grown[patient] for patient in split}
    records = simulate(SimulatorConfig(patients=11, records_per_patient=2, fs=100, duration_s=5))
    assert {r.patient for r in records} == set(list(split)[:11])
    assert Counter(next(iter(r.statements)) for r in records) == dict.fromkeys(CLASSES, 2)


def test_what_a_recording_says():
    recording = simulate(SimulatorConfig(patients=1, fs=100))[0]
    assert recording.signal.shape == (12, 1000)
    assert recording.signal.dtype == np.float32
    assert (recording.fs, recording.leads, recording.source) == (100, LEADS, "simulator")


def test_variety_and_noise_are_knobs():
    def spread(**settings):
        signals = [r.signal for r in simulate(SimulatorConfig(patients=8, classes=("NORM",), fs=100, **settings))]
        return np.std([np.abs(s).max(axis=1) for s in signals], axis=0).mean()

    assert spread(variety=0, noise=0) < 0.3 * spread(variety=1, noise=0)
    quiet, loud = (simulate(SimulatorConfig(patients=3, noise=level, fs=100)) for level in (0.5, 2))
    roughness = [np.mean([np.abs(np.diff(r.signal, n=2)).mean() for r in records]) for records in (quiet, loud)]
    assert roughness[1] > 1.5 * roughness[0]


@pytest.mark.parametrize("wrong", [{"severity": (0.9, 0.1)}, {"shares": (0.7, 0.7, 0)}, {"classes": ("NORMAL",)}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        SimulatorConfig(**wrong)


def peaks(curve: np.ndarray) -> int:
    """Local maxima above half of the highest."""
    return sum(
        b > a and b >= c and b > 0.5 * curve.max() for (a, b), c in zip(pairwise(curve), curve[2:], strict=False)
    )
