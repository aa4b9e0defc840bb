"""PTB-XL (Wagner et al. 2020) in its official layout: two folders of WFDB records, and a table that describes them.

21,799 records of 18,869 patients, 12 leads, 10 s, at 500 Hz (`records500`) and at 100 Hz (`records100`). The folder is
read at 500 Hz, its part `records100` at 100 Hz. Folds 1-8 train, 9 validates, 10 tests; patients keep to one fold.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from anyjepa.data.class_folders import Part
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.layout import AGE, Entry, check_cells, lies_in, read_index, refused, years
from anyjepa.data.ecg.sets.ptbxl_statements import STATEMENTS
from anyjepa.data.ecg.wfdb.records import read_wfdb
from anyjepa.errors import InputError, did_you_mean

TABLE = "ptbxl_database.csv"
FILES = {"records500": "filename_hr", "records100": "filename_lr"}
PARTS: dict[str, Part] = {**{str(fold): "train" for fold in range(1, 9)}, "9": "validation", "10": "test"}


_LONGEST = 2000  # characters of scp_codes; all 71 statements take 1000


class Row(NamedTuple):
    """A line of the table, as text."""

    ecg_id: str
    patient_id: str
    age: str
    sex: str
    scp_codes: str
    strat_fold: str
    file: str


def record_id(ecg_id: int) -> str:
    """The id of a record at both sampling rates, and in the PhysioNet Challenges, such as HR00001."""
    return f"ptb-xl/{ecg_id // 1000 * 1000:05d}/{ecg_id:05d}"


def recognise(folder: Path) -> bool:
    return _root(folder) is not None


def entries(folder: Path, unit: str | float | None) -> Iterator[Entry]:
    root = _root(folder)
    assert root is not None
    part = Path("records500") if folder == root else folder.resolve().relative_to(root)
    if not (root / part).is_dir():
        there = [name for name in FILES if (root / name).is_dir()]
        hint = f"pass {root / there[0]} to read {there[0]}" if there else "download records500"
        raise InputError(f"{root}: there is no folder '{part}' in this PTB-XL; {hint}")
    column = FILES[part.parts[0]]
    table = root / TABLE
    index = read_index(table, "ecg_id", [*Row._fields[1:-1], column])
    check_cells(index, table, "age", *AGE)
    check_cells(index, table, "sex", r"([01](\.0)?)?", "0 (male), 1 (female) or empty")
    rows: dict[Path, int] = {}
    for number, row in enumerate(map(Row._make, index[[*Row._fields[:-1], column]].itertuples(index=False)), 1):
        where = f"{table}: row {number} (ecg_id {row.ecg_id})"
        if not lies_in(part.parts[0], row.file):
            yield refused(where, f"{column} '{row.file}' is not in {part.parts[0]}")
            continue
        file = root / f"{row.file}.hea"
        if rows.setdefault(file, number) != number:
            raise InputError(f"{where}: {column} '{row.file}' is also that of row {rows[file]}")
        if not file.is_relative_to(root / part):
            continue
        if row.strat_fold not in PARTS:
            raise InputError(f"{where}: fold '{row.strat_fold}' is not 1 to 10")
        if os.path.exists(file):  # unlike Path.exists it takes any name
            yield Entry(str(file), partial(_read, file, row, unit, where), (file,), str(row))
        else:
            yield refused(str(file), f"is listed in {TABLE} (ecg_id {row.ecg_id}), but there is no such file")
    for here, subfolders, names in os.walk(root / part):
        subfolders.sort()
        for file in (Path(here, name) for name in sorted(names) if name.endswith(".hea")):
            if file not in rows:
                yield refused(str(file), f"is not listed in {TABLE}")


def _root(folder: Path) -> Path | None:
    """The folder with the table, if `folder` is this folder or lies in one of its two folders of records."""
    if os.path.lexists(folder / TABLE):  # reading it raises an error if it is not a regular file
        return folder
    here = folder.resolve()
    for depth, parent in enumerate(here.parents[:2], 1):
        if here.parts[-depth] in FILES and os.path.lexists(parent / TABLE):
            return parent
    return None


def _read(file: Path, row: Row, unit: str | float | None, where: str) -> Sequence[Recording]:
    codes = _codes(row.scp_codes, where)
    recording = replace(
        read_wfdb(file, record_id(_number(row.ecg_id, where)), "ptb-xl", unit),
        patient=row.patient_id or None,
        statements=frozenset(codes),
        likelihoods=codes,
        age=years(row.age),
        sex={"0": "M", "1": "F"}.get(row.sex),
        split=PARTS[row.strat_fold],
    )
    return [recording]


def _number(text: str, where: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise InputError(f"{where}: the id must be a whole number")
    return int(text)


def _codes(text: str, where: str) -> dict[str, float]:
    """The cell "{'NORM': 80.0, 'SR': 0.0}": statements and their likelihoods in percent."""
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        likelihoods = {str(code): percent for code, percent in ast.literal_eval(text).items()}
    except (SyntaxError, ValueError, TypeError, AttributeError, MemoryError, RecursionError) as error:
        raise InputError(f"{where}: scp_codes '{text[:60]}' must be as {{'NORM': 80.0, 'SR': 0.0}}") from error
    for code, percent in likelihoods.items():
        if type(percent) not in (int, float) or not 0 <= percent <= 100:
            raise InputError(
                f"{where}: statement '{code[:60]}' has likelihood {str(percent)[:60]!r}; it must be 0 to 100"
            )
        if code not in STATEMENTS:
            raise InputError(f"{where}: statement '{code}' is not one of PTB-XL's {len(STATEMENTS)}" + _like(code))
    return {code: float(percent) for code, percent in likelihoods.items()}


def _like(code: str) -> str:
    hint = did_you_mean(code, STATEMENTS)
    return hint if "mean" in hint else ""
