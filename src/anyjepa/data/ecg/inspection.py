"""Summarise a set of ECGs and its problems, as a dictionary and as text for the terminal."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.ecg.beats import TASKS as BEATS
from anyjepa.data.ecg.checks import peak_to_peak
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import deviations, pooled, without_outliers
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.snomed import DIAGNOSES
from anyjepa.data.ecg.tasks import task_table, tasks_of
from anyjepa.data.listing import counted
from anyjepa.data.summary import findings, listed
from anyjepa.errors import DataWarning, InputError, one_line

if TYPE_CHECKING:
    from rich.console import Group


def inspect(
    paths: Path | str | Sequence[Path | str],
    *,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> dict[str, Any]:
    """Read all ECGs under `paths` (see `read`) and describe them; files that cannot be read are listed as skipped.

    JSON-able: records (count), ids, sources, fs_hz, leads and statements (counts), statement_names (of SNOMED codes),
    duration_s, patients (None: unknown for some record), tasks (records and classes), amplitude_mv (for each lead),
    invalid_samples, problems, remarks (files that are not read), skipped.
    """
    reading = read(paths, fs=fs, leads=leads, unit=unit, on_error="skip", warn=False)
    recordings = reading.recordings
    patients_known = all(r.patient is not None for r in recordings)
    statements = _counts(statement for r in recordings for statement in r.statements)
    return {
        "records": len(recordings),
        "ids": [r.id for r in recordings],
        "sources": _counts(r.source for r in recordings),
        "patients": len({r.group for r in recordings}) if patients_known else None,
        "fs_hz": _counts(f"{r.fs:g}" for r in recordings),
        "duration_s": _range([r.duration_s for r in recordings]),
        "age_years": _range([r.age for r in recordings if r.age is not None]),
        "sex": _counts(r.sex or "unknown" for r in recordings),
        "leads": _counts(lead for r in recordings for lead in r.leads),
        "amplitude_mv": _amplitudes(recordings),
        "invalid_samples": int(sum(np.isnan(r.signal).sum() for r in recordings)),
        "statements": statements,
        "statement_names": {code: _named(code) for code in statements if code in DIAGNOSES},
        "tasks": {task: _labelled(recordings, task) for task in tasks_of(recordings)},
        "problems": [
            {"kind": p.kind, "meaning": p.meaning, "count": p.count, "examples": list(p.examples)}
            for p in reading.problems
        ],
        "remarks": reading.remarks,
        "skipped": reading.skipped,
    }


def render(summary: dict[str, Any], statements: int = 15) -> Group:
    """The dictionary of `inspect` as a rich renderable; at most `statements` diagnostic statements, commonest first."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def shown(text: str) -> Text:  # names from files: no markup, no control characters
        return Text(one_line(text))

    facts = Table("", "", show_header=False, box=None)
    facts.add_row("records", str(summary["records"]))
    for key in ("sources", "fs_hz", "sex"):
        facts.add_row(key, shown(", ".join(f"{name} ({count})" for name, count in summary[key].items())))
    facts.add_row("patients", "unknown" if summary["patients"] is None else str(summary["patients"]))
    for key in ("duration_s", "age_years"):
        if values := summary[key]:
            facts.add_row(key, f"{values['median']:g} ({values['min']:g} to {values['max']:g})")
    for place, (task, labelled) in enumerate(summary["tasks"].items()):
        of = "beats" if task in BEATS else "records"
        classes = listed([f"{name} {count:,}" for name, count in labelled["classes"].items()])
        facts.add_row("" if place else "tasks", shown(f"{task} ({labelled['records']:,} {of}: {classes})"))
    if not summary["tasks"]:
        facts.add_row("tasks", "none; pass a table of labels")

    leads = Table("lead", "records", "mean mV", "std mV", "peak to peak mV", box=None)
    for lead, values in summary["amplitude_mv"].items():
        numbers = [f"{values[key]:.3f}" for key in ("mean", "std", "peak_to_peak")]
        leads.add_row(shown(lead), str(summary["leads"][lead]), *numbers)

    diagnoses = Table("statement", "records", box=None)
    for name, count in list(summary["statements"].items())[:statements]:
        diagnoses.add_row(shown(f"{name} {summary['statement_names'].get(name, '')}".rstrip()), str(count))
    if (more := len(summary["statements"]) - statements) > 0:
        diagnoses.add_row(f"... and {more} more", "")

    problems = list(summary["remarks"])
    for problem in summary["problems"]:
        problems.append(f"{problem['kind']}: {counted(problem['count'], 'record', 'records')}: {problem['meaning']}")
        problems += [f"  {example}" for example in problem["examples"]]
    return Group(facts, Text(), leads, Text(), diagnoses, Text(), *findings(problems, summary["skipped"]))


def _named(code: str) -> str:
    return f"{DIAGNOSES[code].name} ({DIAGNOSES[code].abbreviation})"


def _labelled(recordings: Sequence[Recording], task: str) -> dict[str, Any]:
    """Number of records, or beats, that have labels of a task, and of each class that occurs, the commonest first."""
    try:
        table = task_table(recordings, task)
    except InputError:  # no record has a class of the task, or sources have labels of different kinds
        return {"records": 0, "classes": {}}
    classes = sorted(table.counts().items(), key=lambda item: -item[1])
    return {"records": len(table), "classes": {name: count for name, count in classes if count}}


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _range(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"min": float(min(values)), "median": float(np.median(values)), "max": float(max(values))}


def _amplitudes(recordings: Sequence[Recording]) -> dict[str, dict[str, float]]:
    """Mean, standard deviation (as in training) and median peak to peak of each lead, in mV."""
    values: dict[str, list[tuple[float, ...]]] = {}  # samples, mean, squared deviations, peak to peak of each record
    for recording in recordings:
        for lead, row, range_mv in zip(recording.leads, recording.signal, peak_to_peak(recording), strict=True):
            valid = row[None, ~np.isnan(row)]
            if valid.size:
                mean, squares = deviations(valid)
                values.setdefault(lead, []).append((valid.size, float(mean[0]), float(squares[0]), float(range_mv)))
    ordered = [*(lead for lead in LEADS if lead in values), *(lead for lead in values if lead not in LEADS)]
    return {lead: _amplitude(lead, np.array(values[lead])) for lead in ordered}


def _amplitude(lead: str, values: np.ndarray) -> dict[str, float]:
    count, mean, squares, ranges = values.T[:, :, None]
    with warnings.catch_warnings(action="ignore", category=DataWarning):  # the problems list what is excluded
        total, mean, squares = pooled(count, without_outliers([lead], count, mean, squares), squares)
    std = np.sqrt(squares / total)
    return {"mean": float(mean[0]), "std": float(std[0]), "peak_to_peak": float(np.median(ranges))}
