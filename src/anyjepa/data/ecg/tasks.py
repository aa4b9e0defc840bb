"""Named tasks: labels made of the diagnostic statements that a source's own records carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anyjepa.data.ecg.recording import Recording
from anyjepa.data.labels import LabelTable
from anyjepa.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Task:
    """Which statements make which class. exclusive: records without exactly one class are left out of the table."""

    classes: dict[str, tuple[str, ...]]
    exclusive: bool


# LUDB (Kalyakulina et al. 2020), statements as its headers write them.
_LUDB = {
    "rhythm": Task(
        {
            "sinus rhythm": ("Rhythm: Sinus rhythm",),
            "sinus bradycardia": ("Rhythm: Sinus bradycardia",),
            "atrial fibrillation": ("Rhythm: Atrial fibrillation",),
        },
        exclusive=True,
    ),
    "lvh": Task({"left ventricular hypertrophy": ("Left ventricular hypertrophy",)}, exclusive=False),
    "conduction": Task(
        {
            "conduction disorder": (
                "Sinoatrial blockade, undefined",
                "I degree AV block",
                "III degree AV-block",
                "Incomplete right bundle branch block",
                "Incomplete left bundle branch block",
                "Left anterior hemiblock",
                "Complete right bundle branch block",
                "Complete left bundle branch block",
                "Non-specific intravintricular conduction delay",
            )
        },
        exclusive=False,
    ),
}

# SNOMED CT codes of the PhysioNet Challenges 2020 and 2021 (chapman, ningbo, cpsc2018, ...).
_SNOMED = {
    "rhythm": Task(
        {
            "sinus rhythm": ("426783006",),
            "sinus bradycardia": ("426177001",),
            "sinus tachycardia": ("427084000",),
            "sinus arrhythmia": ("427393009",),
            "atrial fibrillation": ("164889003",),
            "atrial flutter": ("164890007",),
            "supraventricular tachycardia": ("426761007",),
        },
        exclusive=True,
    ),
}


def tasks_of(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """The names of the tasks that the statements of these recordings allow; none if they carry no known statements."""
    return tuple(dict.fromkeys(name for speaks, tasks in _vocabularies(recordings) for name in tasks))


def task_table(recordings: Sequence[Recording], name: str) -> LabelTable:
    """The labels of a named task, in the recordings' order; rare classes are kept.

    Left out are recordings without statements of a vocabulary that has the task and, where the task is exclusive, those
    without exactly one of its classes: `len(recordings) - len(table)` of them. InputError for an unknown task.
    """
    names = tasks_of(recordings)
    if not names:
        raise InputError(f"task '{name}': the records carry no statements of a known source; give a table of labels")
    if name not in names:
        raise InputError(f"task '{name}' is unknown for these records{did_you_mean(name, names)}")
    chosen = [(speaks, tasks[name]) for speaks, tasks in _vocabularies(recordings) if name in tasks]
    classes = tuple(dict.fromkeys(label for _, task in chosen for label in task.classes))
    exclusive = chosen[0][1].exclusive
    kept, rows = [], []
    for recording in recordings:
        task = next((task for speaks, task in chosen if speaks(recording)), None)
        if task is None:
            continue
        row = [bool(recording.statements & set(task.classes.get(label, ()))) for label in classes]
        if not exclusive or sum(row) == 1:
            kept.append(recording)
            rows.append(row)
    if not kept:
        raise InputError(f"task '{name}': none of {len(recordings)} records has exactly one of {', '.join(classes)}")
    return LabelTable(
        ids=tuple(r.id for r in kept),
        classes=classes,
        values=np.array(rows, np.float32),
        groups=tuple(r.group for r in kept),
        exclusive=exclusive,
    )


def _vocabularies(recordings: Sequence[Recording]) -> list[tuple[Callable[[Recording], bool], dict[str, Task]]]:
    """For each vocabulary that occurs: whether a recording speaks it, and its tasks."""
    simulated = sorted({s for r in recordings if _is_simulated(r) for s in r.statements})
    diagnosis = {"diagnosis": Task({name: (name,) for name in simulated}, exclusive=True)}
    known = [(_is_ludb, _LUDB), (_is_snomed, _SNOMED), (_is_simulated, diagnosis)]
    return [(speaks, tasks) for speaks, tasks in known if any(map(speaks, recordings))]


def _is_ludb(recording: Recording) -> bool:
    return any(s.startswith("Rhythm: ") for s in recording.statements)


def _is_snomed(recording: Recording) -> bool:
    return bool(recording.statements) and all(s.isdecimal() for s in recording.statements)


def _is_simulated(recording: Recording) -> bool:
    return recording.source == "simulator"
