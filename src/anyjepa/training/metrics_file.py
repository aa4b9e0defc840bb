"""Read metrics.csv of a run, and shorten it; imports neither torch nor lightning."""

from __future__ import annotations

from pathlib import Path

from anyjepa.data.files import read_text
from anyjepa.errors import InputError
from anyjepa.limits import MEMORY
from anyjepa.writing import replacing

LONGEST = 15  # digits of a step


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read the rows of metrics.csv, with `step` as an int. An incomplete last line is skipped; no file gives [].

    Raises InputError for a damaged file.
    """
    return [row for _, row in _lines_and_rows(path)[1]]


def drop_rows_after(path: Path, step: int) -> list[str]:
    """Remove the rows of later steps and return the columns ([] if no rows remain). Other lines do not change.

    Raises InputError for a damaged file, which is not changed.
    """
    header, rows = _lines_and_rows(path)
    kept = [line for line, row in rows if row["step"] <= step]
    if path.exists():
        with replacing(path) as new:
            new.write_text("\r\n".join([header, *kept, ""]) if kept else "", newline="")
    return header.split(",") if kept else []


def _lines_and_rows(path: Path) -> tuple[str, list[tuple[str, dict[str, float]]]]:
    """The header line, and every other line with its values. No field is quoted, so each line is a row."""
    if not path.exists():
        return "", []
    advice = "repair or delete the file; the checkpoints do not need it"
    try:
        header, *lines = read_text(path, MEMORY).splitlines(keepends=True) or [""]
    except InputError as error:
        raise InputError(f"{error}; {advice}") from error
    names = header.rstrip("\r\n").split(",")
    if header and (names[0] != "step" or not header.endswith("\n")) and lines:
        raise InputError(f"{path}: the first line does not name the columns; {advice}")
    if lines and not lines[-1].endswith("\n"):
        lines.pop()  # the process was killed while it wrote this line
    rows: list[tuple[str, dict[str, float]]] = []
    for number, line in enumerate(lines, 2):
        try:
            row = _row(names, line.rstrip("\r\n"))
            if rows and row["step"] <= rows[-1][1]["step"]:
                raise ValueError(f"step {row['step']} follows step {rows[-1][1]['step']}")
        except ValueError as error:
            raise InputError(f"{path}: line {number} is damaged ({error}); {advice}") from None
        rows.append((line.rstrip("\r\n"), row))
    return header.rstrip("\r\n"), rows


def _row(names: list[str], line: str) -> dict[str, float]:
    values = line.split(",")
    if len(values) != len(names):
        raise ValueError(f"it has {len(values)} values for {len(names)} columns")
    step, *rest = values
    if not step.isdecimal() or len(step) > LONGEST:
        raise ValueError(f"step {step[: LONGEST + 1]!r} is not a number of steps")
    return {"step": int(step)} | {name: float(value) for name, value in zip(names[1:], rest, strict=True) if value}
