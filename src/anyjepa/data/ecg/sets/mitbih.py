"""MIT-BIH Arrhythmia Database (Moody & Mark 2001): 48 WFDB records of 47 people, 2 leads, 360 Hz, 30 min, with beats.

The leads differ: MLII and V1 in 40 records, in another order or with V2, V4 or V5 in eight (114: V5, MLII). Here they
are identified by name. Records 201 and 202 are one person. The split between patients is de Chazal's (2004): DS1
trains, DS2 tests, the four records with pacemakers are in neither. 201 is in DS1, 202 in DS2: see `beats` for the
consequences.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.layout import Entry, refused
from anyjepa.data.ecg.wfdb.annotations import read_annotations
from anyjepa.data.ecg.wfdb.header import read_header
from anyjepa.data.ecg.wfdb.records import read_wfdb
from anyjepa.errors import InputError

_TRAIN = "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230"
_TEST = "100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234"
DS1, DS2 = tuple(_TRAIN.split()), tuple(_TEST.split())
PACED = ("102", "104", "107", "217")
RECORDS = tuple(sorted((*DS1, *DS2, *PACED)))
SAME_PERSON = {"202": "201"}


def recognise(folder: Path) -> bool:
    """Also checks the rate of the first record, because other databases have records called 100."""
    first = next((folder / f"{name}.hea" for name in RECORDS if os.path.isfile(folder / f"{name}.hea")), None)
    try:
        return first is not None and read_header(first).fs == 360
    except InputError:
        return False


def entries(folder: Path, unit: str | float | None) -> Iterator[Entry]:
    for file in sorted(folder.glob("*.hea")):
        if file.stem in RECORDS:
            yield Entry(str(file), partial(_read, file, unit), (file, file.with_suffix(".atr")))
        else:
            yield refused(str(file), "is not one of the 48 records of the MIT-BIH database")


def _read(file: Path, unit: str | float | None) -> Sequence[Recording]:
    name = file.stem
    recording = read_wfdb(file, f"mit-bih/{name}", "mit-bih", unit)
    annotations = read_annotations(file.with_suffix(".atr"), recording.signal.shape[1])
    split = "train" if name in DS1 else "test" if name in DS2 else None
    return [replace(recording, patient=SAME_PERSON.get(name, name), split=split, annotations=annotations)]
