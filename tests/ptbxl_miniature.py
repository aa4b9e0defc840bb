"""A small PTB-XL in the official layout, made of any recordings: the same tables, folders and two rates.

Written by wfdb, whose reading this project does not use for it. For tests, and to try on few records the commands that
reproduce published results on the real one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import resample_poly

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.ptbxl_statements import STATEMENTS

# Some SNOMED CT codes of the Challenges, and statements of LUDB, as PTB-XL's.
SCP = {
    "426783006": "SR",
    "426177001": "SBRAD",
    "427084000": "STACH",
    "427393009": "SARRH",
    "164889003": "AFIB",
    "164890007": "AFLT",
    "426761007": "SVTAC",
    "270492004": "1AVB",
    "59118001": "CRBBB",
    "713427006": "CRBBB",
    "164909002": "CLBBB",
    "713426002": "IRBBB",
    "164873001": "LVH",
    "55827005": "VCLVH",
    "164917005": "QWAVE",
    "164934002": "TAB_",
    "59931005": "INVT",
    "429622005": "STD_",
    "428750005": "NST_",
    "251146004": "LVOLT",
    "164865005": "AMI",
    "427172004": "PVC",
    "284470004": "PAC",
    "Rhythm: Sinus rhythm": "SR",
    "Rhythm: Sinus bradycardia": "SBRAD",
    "Rhythm: Atrial fibrillation": "AFIB",
    "Left ventricular hypertrophy": "LVH",
    "Left anterior hemiblock": "LAFB",
    "Incomplete right bundle branch block": "IRBBB",
    "Complete right bundle branch block": "CRBBB",
    "Complete left bundle branch block": "CLBBB",
    "I degree AV block": "1AVB",
}


def scp_codes(recording: Recording) -> dict[str, float]:
    """What is known about a record in PTB-XL's words: likelihood 100 for diagnoses, 0 for form and rhythm, as there.

    A record without a diagnosis counts as normal.
    """
    codes = {SCP[s] for s in recording.statements if s in SCP}
    if not any(STATEMENTS[code].diagnosis for code in codes):
        codes.add("NORM")
    return {code: 100.0 if STATEMENTS[code].diagnosis else 0.0 for code in sorted(codes)}


def write_miniature(
    folder: Path,
    records: Sequence[Recording],
    *,
    codes: Sequence[Mapping[str, float]] | None = None,
    patients: Sequence[int] | None = None,
    rates: Sequence[int] = (500, 100),
) -> Path:
    """Write 12-lead records as PTB-XL: ecg_id 1, 2, ...; patient p (default: each its own) lies in fold p % 10 + 1.

    codes: the statements of each record with likelihoods, default `scp_codes`.
    """
    codes = [scp_codes(r) for r in records] if codes is None else codes
    patients = list(range(1, len(records) + 1)) if patients is None else patients
    rows = []
    for ecg_id, (record, statements, patient) in enumerate(zip(records, codes, patients, strict=True), 1):
        names = {rate: _file(ecg_id, rate) for rate in (500, 100)}
        for rate in rates:
            _write(folder / names[rate], record, rate)
        rows.append(
            {
                "ecg_id": ecg_id,
                "patient_id": float(patient),
                "age": record.age,
                "sex": int(record.sex == "F"),
                "report": "",
                "scp_codes": str(dict(statements)),
                "strat_fold": patient % 10 + 1,
                "filename_lr": names[100],
                "filename_hr": names[500],
            }
        )
    pd.DataFrame(rows).to_csv(folder / "ptbxl_database.csv", index=False)
    pd.DataFrame(
        [
            {
                "": code,
                **{level: 1.0 if level in statement.levels else None for level in ("diagnostic", "form", "rhythm")},
                "diagnostic_class": statement.diagnosis,
                "diagnostic_subclass": statement.subdiagnosis,
            }
            for code, statement in STATEMENTS.items()
        ]
    ).to_csv(folder / "scp_statements.csv", index=False)
    return folder


def _file(ecg_id: int, rate: int) -> str:
    return f"records{rate}/{ecg_id // 1000 * 1000:05d}/{ecg_id:05d}_{'hr' if rate == 500 else 'lr'}"


def _write(path: Path, record: Recording, rate: int) -> None:
    signal = np.stack([record.signal[record.leads.index(lead)] for lead in LEADS]).astype(np.float64)
    if record.fs != rate:
        signal = resample_poly(signal, rate, int(record.fs), axis=1)[:, : ceil(signal.shape[1] * rate / record.fs)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb beside pandas 3
        import wfdb

        wfdb.wrsamp(
            path.name,
            fs=rate,
            units=["mV"] * 12,
            sig_name=[lead.upper() for lead in LEADS],
            p_signal=signal.T,
            fmt=["16"] * 12,
            adc_gain=[1000.0] * 12,
            baseline=[0] * 12,
            write_dir=str(path.parent),
        )
