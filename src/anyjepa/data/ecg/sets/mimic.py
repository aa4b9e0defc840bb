"""MIMIC-IV-ECG (Gow et al. 2023): 800,035 WFDB records of 161,352 patients, 12 leads, 500 Hz, 10 s.

Its files have aVF before aVL, which does not matter because leads are identified by name. The records are those of
`record_list.csv`, under `files/p1000/p10000032/s40689238/40689238`; the reports of the
cart's software in `machine_measurements.csv` are read if the file exists, each line as a statement.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.layout import Entry, lies_in, read_index, refused
from anyjepa.data.ecg.wfdb.records import read_wfdb

TABLE, REPORTS = "record_list.csv", "machine_measurements.csv"


def recognise(folder: Path) -> bool:
    return os.path.lexists(folder / TABLE) and os.path.isdir(folder / "files")


def entries(folder: Path, unit: str | float | None) -> Iterator[Entry]:
    index = read_index(folder / TABLE, "study_id", ["subject_id", "path"])
    if os.path.lexists(folder / REPORTS):
        index = index.merge(read_index(folder / REPORTS, "study_id", [], prefix="report_"), how="left", on="study_id")
    lines = [column for column in index.columns if column.startswith("report_")]
    rows = index[["study_id", "subject_id", "path", *lines]].itertuples(index=False, name=None)
    for study, patient, path, *report in rows:
        file = folder / f"{path}.hea"
        if not lies_in("files", path):
            yield refused(f"{folder / TABLE}: study_id {study}", f"path '{path}' does not begin with files/")
        elif os.path.exists(file):  # unlike Path.exists it takes any name
            statements = frozenset(line.strip() for line in report if isinstance(line, str) and line.strip())
            read = partial(_read, file, study, patient, statements, unit)
            yield Entry(str(file), read, (file,), str((study, patient, report)))
        else:
            yield refused(str(file), f"is listed in {TABLE} (study_id {study}), but there is no such file")


def _read(
    file: Path, study: str, patient: str, statements: frozenset[str], unit: str | float | None
) -> Sequence[Recording]:
    recording = read_wfdb(file, f"mimic-iv-ecg/s{study}", "mimic-iv-ecg", unit)
    return [replace(recording, patient=patient or None, statements=statements)]
