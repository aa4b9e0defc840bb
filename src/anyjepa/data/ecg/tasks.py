"""Named tasks: labels from the diagnostic statements of published data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anyjepa.data.ecg import beats
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.challenge import is_snomed
from anyjepa.data.ecg.sets.code15 import ABNORMALITIES
from anyjepa.data.ecg.sets.ptbxl_statements import STATEMENTS, classes_of
from anyjepa.data.ecg.sets.snomed import EQUIVALENT, SCORED
from anyjepa.data.labels import LabelTable
from anyjepa.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Task:
    """The statements of each class.

    exclusive: exclude records that do not have exactly one class. labelled: exclude records without a class.
    """

    classes: dict[str, tuple[str, ...]]
    exclusive: bool
    labelled: bool = False

    @cached_property
    def meaning(self) -> dict[str, list[str]]:
        """Map each statement to the classes that it implies."""
        meaning: dict[str, list[str]] = {}
        for label, statements in self.classes.items():
            for statement in statements:
                meaning.setdefault(statement, []).append(label)
        return meaning

    def takes(self, row: Sequence[bool]) -> bool:
        """Whether the table includes a record with these classes."""
        return sum(row) == 1 if self.exclusive else any(row) or not self.labelled


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

# SNOMED CT codes of the PhysioNet Challenges 2020 and 2021 (chapman, ningbo, cpsc2018, ...); codes that the Challenge
# scores as one are one class.
_SCORED = {
    diagnosis.name: (code, *(other for other, same in EQUIVALENT.items() if same == code))
    for code, diagnosis in SCORED.items()
    if code not in EQUIVALENT
}
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
    "challenge": Task(_SCORED, exclusive=False),
}

# The six levels of PTB-XL (Strodthoff et al. 2020), and the task with one class per record (Na et al. 2024, ST-MEM).
_LEVELS = ("all", "diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm")
_PTB_XL = {level: Task(classes_of(level), exclusive=False, labelled=True) for level in _LEVELS}
_PTB_XL["superdiagnostic-single"] = Task(classes_of("superdiagnostic"), exclusive=True)

_CODE_15 = {"abnormalities": Task({name: (name,) for name in ABNORMALITIES}, exclusive=False)}


class TaskTables(Mapping[str, LabelTable]):
    """The label table of each task that recordings support, made on demand; see `task_table`."""

    def __init__(self, recordings: Sequence[Recording]):
        self.recordings = [recording.outline() for recording in recordings]
        self.names = tasks_of(self.recordings)

    def __contains__(self, name: object) -> bool:
        return name in self.names  # without making a table

    def __getitem__(self, name: str) -> LabelTable:
        return task_table(self.recordings, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def tasks_of(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """Names of the tasks that these recordings support; empty without known statements and beats."""
    names = [name for _, tasks in _vocabularies(recordings) for name in tasks]
    return tuple(dict.fromkeys(names + list(beats.TASKS) * any(r.annotations for r in recordings)))


def task_table(recordings: Sequence[Recording], name: str) -> LabelTable:
    """Labels of a named task, in the order of the recordings; rare classes are kept.

    Recordings without statements of a vocabulary with this task, and those that the task excludes, are not in the
    table. The split is the published one if every record has one. Tasks on beats have one row per beat; see
    `beats.beat_table`. Raises InputError for an unknown task.
    """
    names = tasks_of(recordings)
    if not names:
        raise InputError(f"task '{name}': the records have no statements of a known source; pass a table of labels")
    if name not in names:
        raise InputError(f"task '{name}' is unknown for these records{did_you_mean(name, names)}")
    if name in beats.TASKS:
        return beats.beat_table(recordings, name)
    chosen = [(speaks, tasks[name]) for speaks, tasks in _vocabularies(recordings) if name in tasks]
    classes = tuple(dict.fromkeys(label for _, task in chosen for label in task.classes))
    if len({task.exclusive for _, task in chosen}) > 1:
        raise InputError(
            f"task '{name}': one of these sources has one class per record, another has several; pass one source"
        )
    kept, rows = [], []
    for recording in recordings:
        task = next((task for speaks, task in chosen if speaks(recording)), None)
        if task is None:
            continue
        true = {label for statement in recording.statements for label in task.meaning.get(statement, ())}
        row = [label in true for label in classes]
        if task.takes(row):
            kept.append(recording)
            rows.append(row)
    if not kept:
        one = "exactly one" if chosen[0][1].exclusive else "any"
        raise InputError(f"task '{name}': none of {len(recordings)} records has {one} of {', '.join(classes)}")
    split = tuple(r.split for r in kept if r.split)
    return LabelTable(
        ids=tuple(r.id for r in kept),
        classes=classes,
        values=np.array(rows, np.float32),
        groups=tuple(r.group for r in kept),
        exclusive=chosen[0][1].exclusive,
        split=split if len(split) == len(kept) else None,
    )


def _vocabularies(recordings: Sequence[Recording]) -> list[tuple[Callable[[Recording], bool], dict[str, Task]]]:
    """Vocabularies that occur: a function that recognises their recordings, and their tasks."""
    simulated = sorted({s for r in recordings if _is_simulated(r) for s in r.statements})
    diagnosis = {"diagnosis": Task({name: (name,) for name in simulated}, exclusive=True)}
    vocabularies = [
        (_is_ludb, _LUDB),
        (is_snomed, _SNOMED),
        (_is_ptb_xl, _PTB_XL),
        (_is_code_15, _CODE_15),
        (_is_simulated, diagnosis),
    ]
    return [(speaks, tasks) for speaks, tasks in vocabularies if any(map(speaks, recordings))]


def _is_ludb(recording: Recording) -> bool:
    return any(s.startswith("Rhythm: ") for s in recording.statements)


def _is_ptb_xl(recording: Recording) -> bool:
    return bool(recording.statements) and not _is_simulated(recording) and recording.statements <= STATEMENTS.keys()


def _is_code_15(recording: Recording) -> bool:
    return recording.source == "code-15"


def _is_simulated(recording: Recording) -> bool:
    return recording.source == "simulator"
