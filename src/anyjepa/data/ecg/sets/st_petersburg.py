"""St. Petersburg INCART arrhythmia database: 75 WFDB records of 32 patients, 12 leads, 257 Hz, 30 min (Holter).

Three comment lines per header: '<age>: 65 <sex>: F <diagnoses> Coronary artery disease, ...' (sometimes without
diagnoses), 'patient 1', and the findings. Diagnoses and findings are the statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.layout import Entry, years
from anyjepa.data.ecg.wfdb.header import read_header
from anyjepa.data.ecg.wfdb.records import read_wfdb
from anyjepa.errors import InputError

_RECORDS = "I[0-9][0-9].hea"
_PERSON = re.compile(r"<age>:\s*((?P<age>\d+)\s*)?<sex>:\s*(?P<sex>[FM]?)\s*(<diagnoses>:?\s*(?P<diagnoses>.*))?")
_PATIENT = re.compile(r"patient (\d+)")


def recognise(folder: Path) -> bool:
    """Also checks the rate of the first record, because the name 'I01' alone proves little."""
    first = min(folder.glob(_RECORDS), default=None)
    try:
        return first is not None and read_header(first).fs == 257
    except InputError:
        return False


def entries(folder: Path, unit: str | float | None) -> Iterator[Entry]:
    for file in sorted(folder.glob(_RECORDS)):
        yield Entry(str(file), partial(_read, file, unit), (file,))


def _read(file: Path, unit: str | float | None) -> Sequence[Recording]:
    comments = read_header(file).comments
    person = next(filter(None, map(_PERSON.match, comments)), None)
    numbered = [match[1] for match in map(_PATIENT.fullmatch, comments) if match]
    if len(numbered) != 1:
        raise InputError(f"{file}: no comment line 'patient NUMBER' says whose record it is")
    findings = [line for line in comments if not _PERSON.match(line) and not _PATIENT.fullmatch(line)]
    texts = ", ".join([(person and person["diagnoses"]) or "", *findings]).split(",")
    recording = replace(
        read_wfdb(file, f"st-petersburg/{file.stem}", "st-petersburg", unit),
        patient=numbered[0],
        statements=frozenset(filter(None, (statement.strip() for statement in texts))),
        age=years(person["age"] or "") if person else None,
        sex=(person["sex"] or None) if person else None,
    )
    return [recording]
