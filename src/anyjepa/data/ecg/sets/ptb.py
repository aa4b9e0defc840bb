"""PTB Diagnostic ECG Database (Bousseljot et al. 1995): 549 WFDB records of 290 patients, 1000 Hz, 32 s to 2 min.

15 leads, the twelve in `.dat` and Frank's Vx, Vy, Vz in `.xyz`. A folder is a patient: `patient001/s0010_re.hea`. The
reasons for admission and further diagnoses in the header are the statements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.layout import Entry
from anyjepa.data.ecg.wfdb.header import comment_fields, read_header
from anyjepa.data.ecg.wfdb.records import read_wfdb

_PATIENTS = "patient[0-9][0-9][0-9]"
_DIAGNOSES = ("Reason for admission", "Additional diagnoses")


def recognise(folder: Path) -> bool:
    return any(folder.glob(f"{_PATIENTS}/s*.hea"))


def entries(folder: Path, unit: str | float | None) -> Iterator[Entry]:
    for file in sorted(folder.glob(f"{_PATIENTS}/*.hea")):
        yield Entry(str(file), partial(_read, file, unit), (file,))


def _read(file: Path, unit: str | float | None) -> Sequence[Recording]:
    patient = file.parent.name
    recording = read_wfdb(file, f"ptb/{patient}/{file.stem}", "ptb", unit)
    fields = comment_fields(read_header(file).comments)
    answers = [(name, fields.get(name.lower(), "")) for name in _DIAGNOSES]
    statements = frozenset(f"{name}: {text}" for name, text in answers if text not in ("", "n/a", "unknown"))
    return [replace(recording, patient=patient, statements=statements)]
