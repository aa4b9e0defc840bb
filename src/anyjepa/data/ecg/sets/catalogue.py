"""The ten data sets that ECG-JEPA was pretrained on (Weimann & Conrad 2024), as published: one line of facts each.

Rates, lengths, leads and constants describe the data sets as the official code used them: PTB-XL's folds 1-8, CODE-15's
exams of 10.24 s, Georgia's records of 10 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyjepa.data.ecg.leads import LEADS

Values = tuple[float, ...]


@dataclass(frozen=True)
class DataSet:
    """What is published about one data set. mean and std in mV, in the order of `leads`; both after the filter."""

    fs: float  # Hz
    records: int
    seconds: int  # total duration of all records
    patients: str  # how the patient of a record is identified
    mean: Values
    std: Values
    leads: tuple[str, ...] = LEADS  # in the files' order
    highpass_hz: float | None = None  # the filter that it needs before training; see `preprocessing.highpass`
    raw: tuple[Values, Values] | None = None  # mean and std without the filter

    def constants(self, leads: Sequence[str] = LEADS) -> tuple[Values, Values]:
        """Mean and standard deviation of `leads` in mV, in that order."""
        places = [self.leads.index(lead) for lead in leads]
        return tuple(self.mean[i] for i in places), tuple(self.std[i] for i in places)


_UNKNOWN = "unknown"
_ONE_EACH = "one record each"
_ZERO = (0.0,) * 12

CATALOGUE = {
    "mimic-iv-ecg": DataSet(
        fs=500,
        records=800_035,
        seconds=8_000_350,
        patients="record_list.csv: subject_id",
        leads=("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"),
        mean=(0.023, 0.015, -0.007, -0.019, 0.004, 0.014, -0.018, -0.004, 0.002, 0.017, 0.022, 0.022),
        std=(0.155, 0.158, 0.166, 0.133, 0.143, 0.141, 0.207, 0.282, 0.284, 0.253, 0.222, 0.197),
    ),
    "ptb-xl": DataSet(
        fs=500,
        records=17_439,
        seconds=174_390,
        patients="ptbxl_database.csv: patient_id",
        mean=(-0.002, -0.002, 0.0, 0.002, -0.001, -0.001, 0.0, -0.001, -0.002, -0.001, -0.001, -0.001),
        std=(0.191, 0.166, 0.173, 0.142, 0.149, 0.147, 0.235, 0.338, 0.335, 0.299, 0.294, 0.242),
    ),
    "code-15": DataSet(
        fs=400,
        records=128_033,
        seconds=1_311_060,
        patients="exams.csv: patient_id",
        mean=_ZERO,
        std=(0.488, 0.450, 0.437, 0.416, 0.405, 0.370, 0.548, 0.639, 0.719, 0.695, 0.676, 0.639),
        highpass_hz=0.5,
        raw=(
            (0.053, -0.189, -0.242, 0.068, 0.148, -0.215, -0.255, -0.266, -0.226, -0.233, -0.219, -0.288),
            (1.528, 2.657, 2.645, 1.718, 1.704, 2.538, 2.060, 2.116, 2.055, 1.968, 2.053, 2.315),
        ),
    ),
    "chapman-shaoxing": DataSet(
        fs=500,
        records=10_247,
        seconds=102_470,
        patients=_ONE_EACH,
        mean=(0.002, 0.005, 0.003, -0.002, -0.002, 0.003, 0.0, 0.003, 0.004, 0.004, 0.003, -0.001),
        std=(0.140, 0.171, 0.145, 0.138, 0.114, 0.143, 0.218, 0.355, 0.366, 0.365, 0.332, 0.299),
    ),
    "cpsc": DataSet(
        fs=500,
        records=6_867,
        seconds=109_585,
        patients=_UNKNOWN,
        mean=_ZERO,
        std=(0.214, 0.236, 0.221, 0.209, 0.196, 0.214, 0.336, 0.417, 0.449, 0.483, 0.523, 0.561),
    ),
    "cpsc-extra": DataSet(
        fs=500,
        records=3_441,
        seconds=54_819,
        patients=_UNKNOWN,
        mean=_ZERO,
        std=(0.182, 0.183, 0.184, 0.163, 0.164, 0.165, 0.288, 0.370, 0.371, 0.380, 0.375, 0.392),
    ),
    "georgia": DataSet(
        fs=500,
        records=10_292,
        seconds=102_920,
        patients=_UNKNOWN,
        mean=(-0.003, -0.002, 0.001, 0.003, -0.002, -0.001, -0.004, -0.004, -0.003, -0.003, -0.003, -0.003),
        std=(0.157, 0.178, 0.164, 0.147, 0.134, 0.153, 0.213, 0.285, 0.272, 0.245, 0.224, 0.209),
    ),
    "ningbo": DataSet(
        fs=500,
        records=34_905,
        seconds=349_050,
        patients=_ONE_EACH,
        mean=(0.002, 0.004, 0.002, -0.001, -0.001, 0.002, 0.0, 0.003, 0.003, 0.004, 0.003, 0.0),
        std=(0.145, 0.179, 0.159, 0.142, 0.123, 0.153, 0.228, 0.368, 0.377, 0.394, 0.405, 0.444),
    ),
    "ptb": DataSet(
        fs=1000,
        records=516,
        seconds=57_150,
        patients="folder",
        mean=_ZERO,
        std=(0.642, 0.975, 0.953, 0.674, 0.651, 0.909, 0.643, 0.658, 0.668, 0.688, 0.648, 0.622),
    ),
    "st-petersburg": DataSet(
        fs=257,
        records=74,
        seconds=133_200,
        patients="header: 'patient NUMBER'",
        mean=_ZERO,
        std=(0.132, 0.370, 0.353, 0.215, 0.191, 0.356, 0.234, 0.320, 0.328, 0.290, 0.317, 0.337),
        highpass_hz=0.5,
        raw=(
            (-0.018, -0.041, 0.004, -0.247, -0.337, -0.269, 0.622, 0.563, 0.011, -1.321, -0.379, 0.028),
            (2.576, 3.293, 3.464, 2.418, 2.396, 3.142, 2.195, 2.454, 4.468, 5.193, 3.089, 3.837),
        ),
    ),
}
