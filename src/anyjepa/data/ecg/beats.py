"""Tables of annotated beats in long records, with the classes of ANSI/AAMI EC57."""

from __future__ import annotations

from collections.abc import Sequence

from anyjepa.data.ecg.recording import Recording
from anyjepa.data.labels import LabelTable
from anyjepa.errors import InputError

# AAMI classes and their symbols in the annotations of MIT-BIH. Other symbols are not beats.
AAMI = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
_CLASS = {symbol: name for name, symbols in AAMI.items() for symbol in symbols}

TASKS = ("beats", "beats-published")


def beat_table(recordings: Sequence[Recording], task: str) -> LabelTable:
    """One row per beat of the annotated recordings: AAMI class, patient, and the published part of its record.

    'beats': training records of patients who are tested are excluded (MIT-BIH: 201).
    'beats-published': all records in their published parts, with records as groups, so scores are slightly too high.
    If only some records have a part (MIT-BIH: not the four with pacemakers), the others are excluded.
    """
    annotated = [r for r in recordings if r.annotations]
    parts = [r for r in annotated if r.split] or annotated
    if task == "beats":
        tested = {r.group for r in parts if r.split == "test"}
        parts = [r for r in parts if r.split != "train" or r.group not in tested]
    rows = [(r, sample, name) for r in parts for sample, name in beats_of(r)]
    if not rows:
        raise InputError(f"task '{task}': no record has annotated beats")
    return LabelTable.of_names(
        [beat_id(r, sample) for r, sample, _ in rows],
        [name for *_, name in rows],
        [r.group if task == "beats" else r.id for r, *_ in rows],
        [r.split or "" for r, *_ in rows] if all(r.split for r in parts) else None,
        tuple(AAMI),
    )


def beats_of(recording: Recording) -> list[tuple[int, str]]:
    """Sample and AAMI class of each annotated beat."""
    marks = recording.annotations
    pairs = zip(marks.samples.tolist(), marks.symbols, strict=True) if marks else ()
    return [(sample, _CLASS[symbol]) for sample, symbol in pairs if symbol in _CLASS]


def beat_id(recording: Recording, sample: int) -> str:
    """Id of the beat at a sample of a recording."""
    return f"{recording.id}@{sample}"
