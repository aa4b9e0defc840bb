"""PhysioNet Challenges 2020 and 2021 (Perez Alday et al. 2020, Reyna et al. 2021): the original set of each record.

WFDB records with SNOMED CT codes after `#Dx:`. The name tells the origin. chapman-shaoxing and ningbo have one
record per patient; for the other sets this is unknown.
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
    """Set the source, and the patient if known, of a record with SNOMED CT codes and a name of the Challenges.

    A record of PTB-XL gets its id in PTB-XL, so that it is recognised as the same record.
    """
    name = Path(recording.file).stem
    match = _NAME.fullmatch(name)
    if match is None or not is_snomed(recording):
        return recording
    prefix, number = match[1], int(match[2])
    if prefix == "JS":
        return replace(recording, source="chapman-shaoxing" if number <= _LAST_CHAPMAN else "ningbo", patient=name)
    if prefix == "HR":
        return replace(recording, source="ptb-xl", id=record_id(number))
    return replace(recording, source=_SOURCES[prefix])
