"""PhysioNet Challenges 2020 and 2021 (Perez Alday et al. 2020, Reyna et al. 2021): which set a record came from.

WFDB records with SNOMED CT codes after `#Dx:`. The name says the origin; chapman-shaoxing and ningbo have one record of
each patient, the other sets do not say.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.ptbxl import record_id

_NAME = re.compile(r"(A|Q|I|S|HR|E|JS)(\d{4,5})")
_SOURCES = {"A": "cpsc", "Q": "cpsc-extra", "I": "st-petersburg", "S": "ptb", "HR": "ptb-xl", "E": "georgia"}
_LAST_CHAPMAN = 10646  # JS10647 and later are from Ningbo


def is_snomed(recording: Recording) -> bool:
    return bool(recording.statements) and all(s.isdecimal() for s in recording.statements)


def with_origin(recording: Recording) -> Recording:
    """A record with SNOMED CT codes and a name of the Challenges gets its source, and its patient where there is one.

    A record of PTB-XL gets the id that it has there, so that one and the same record is known again.
    """
    name = Path(recording.file).stem
    found = _NAME.fullmatch(name)
    if found is None or not is_snomed(recording):
        return recording
    prefix, number = found[1], int(found[2])
    if prefix == "JS":
        return replace(recording, source="chapman-shaoxing" if number <= _LAST_CHAPMAN else "ningbo", patient=name)
    if prefix == "HR":
        return replace(recording, source="ptb-xl", id=record_id(number))
    return replace(recording, source=_SOURCES[prefix])


# The 26 scored classes of the Challenge 2021 and their codes; four pairs count as one class.
SCORED = {
    "atrial fibrillation": ("164889003",),
    "atrial flutter": ("164890007",),
    "bundle branch block": ("6374002",),
    "bradycardia": ("426627000",),
    "complete left bundle branch block": ("733534002", "164909002"),
    "complete right bundle branch block": ("713427006", "59118001"),
    "first-degree AV block": ("270492004",),
    "incomplete right bundle branch block": ("713426002",),
    "left axis deviation": ("39732003",),
    "left anterior fascicular block": ("445118002",),
    "low QRS voltages": ("251146004",),
    "nonspecific intraventricular conduction disorder": ("698252002",),
    "sinus rhythm": ("426783006",),
    "premature atrial contraction": ("284470004", "63593006"),
    "pacing rhythm": ("10370003",),
    "poor R wave progression": ("365413008",),
    "premature ventricular contractions": ("427172004", "17338001"),
    "prolonged PR interval": ("164947007",),
    "prolonged QT interval": ("111975006",),
    "Q wave abnormal": ("164917005",),
    "right axis deviation": ("47665007",),
    "sinus arrhythmia": ("427393009",),
    "sinus bradycardia": ("426177001",),
    "sinus tachycardia": ("427084000",),
    "T wave abnormal": ("164934002",),
    "T wave inversion": ("59931005",),
}
