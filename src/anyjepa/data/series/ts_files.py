"""Read `.ts` files of the UEA and UCR archives (Bagnall et al. 2018; Dau et al. 2019).

Lines are comments (`#`), headers (`@key value`), and one series per line after `@data`, with channels separated by `:`,
values separated by `,`, and the class at the end. `?` is a missing value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anyjepa.data.files import read_bytes
from anyjepa.data.series.record import Series
from anyjepa.errors import InputError, did_you_mean
from anyjepa.limits import COLUMNS

KEYS = (
    "problemname",
    "timestamps",
    "missing",
    "univariate",
    "dimensions",
    "dimension",  # both spellings occur
    "equallength",
    "serieslength",
    "classlabel",
    "targetlabel",
)
PARTS = {"_TRAIN": "train", "_TEST": "test"}


@dataclass(frozen=True)
class _Header:
    """The header of a file; None for keys that it does not have."""

    problem: str
    classes: tuple[str, ...]  # empty: the series have no classes
    channels: int | None
    equal: bool  # whether all series have the same length
    length: int | None  # which


def read_ts(path: Path) -> list[Series]:
    """Read the series of a file in order. Raises InputError with the line if the file is not valid.

    Ids are '<file>/<number>', counted from 0. The split is given by the end of the file name, _TRAIN or _TEST.
    """
    lines = read_bytes(path, limit=None).splitlines()
    begin = next((n for n, line in enumerate(lines) if line.strip().lower() == b"@data"), None)
    if begin is None:
        raise InputError(f"{path}: is not a .ts file: it has no line '@data'")
    header = _header(path, lines[:begin])
    part = next((part for ending, part in PARTS.items() if path.stem.upper().endswith(ending)), None)
    series: list[Series] = []
    for number, line in enumerate(lines[begin + 1 :], start=begin + 2):
        where = f"{path}: line {number}"
        if text := _text(line, where):
            values, label = _series(text, header, where)
            name = f"{path.stem}/{len(series)}"
            series.append(Series(name, values, label, split=part, source=header.problem, file=where))
    if not series:
        raise InputError(f"{path}: there is no series after '@data'")
    if header.equal and len({one.values.shape[1] for one in series}) > 1:
        raise InputError(f"{path}: @equalLength is true, but its series differ in length")
    return series


def _text(line: bytes, where: str) -> str:
    """A line without comments; '' for an empty one."""
    if line.lstrip().startswith(b"#"):
        return ""
    try:
        return line.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise InputError(f"{where}: is not UTF-8 text") from None


def _header(path: Path, lines: list[bytes]) -> _Header:
    header: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        where = f"{path}: line {number}"
        if not (text := _text(line, where)):
            continue
        key, *values = text.split()
        if not key.startswith("@") or key[1:].lower() not in KEYS:
            raise InputError(
                f"{where}: '{key[:40]}' is not a header of a .ts file{did_you_mean(key, ['@' + k for k in KEYS])}"
            )
        header[key[1:].lower()] = values
    if _flag(path, header, "timestamps"):
        raise InputError(f"{path}: has time stamps, but only evenly sampled series can be read")
    if _flag(path, header, "targetlabel"):
        raise InputError(f"{path}: is a regression problem (@targetLabel); only classes are read")
    labelled = _flag(path, header, "classlabel")
    classes = tuple(header.get("classlabel", [])[1:])
    if labelled and not classes:
        raise InputError(f"{path}: @classLabel is true, but no class is listed")
    dimensions = "dimensions" if "dimensions" in header else "dimension"
    channels = 1 if _flag(path, header, "univariate") else _number(path, header, dimensions)
    equal = _flag(path, header, "equallength")
    length = _number(path, header, "serieslength") if equal else None
    problem = " ".join(header.get("problemname", [])) or path.stem
    return _Header(problem, classes if labelled else (), channels, equal, length)


def _flag(path: Path, header: dict[str, list[str]], key: str) -> bool:
    text = (header.get(key) or ["false"])[0].lower()
    if text not in ("true", "false"):
        raise InputError(f"{path}: @{key} is '{text}'; it must be true or false")
    return text == "true"


def _number(path: Path, header: dict[str, list[str]], key: str) -> int | None:
    if key not in header:
        return None
    text = " ".join(header[key])
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) < 1:
        raise InputError(f"{path}: @{key} is '{text}'; it must be a positive number")
    return int(text)


def _series(text: str, header: _Header, where: str) -> tuple[np.ndarray, str | None]:
    """Values (C, T) and the class of one line."""
    COLUMNS.check(1 + text.count(":"), where)
    fields = text.split(":")
    label = fields.pop().strip() if header.classes else None
    if label is not None and label not in header.classes:
        raise InputError(f"{where}: class '{label}' is not in @classLabel{did_you_mean(label, header.classes)}")
    if header.channels is not None and len(fields) != header.channels:
        raise InputError(f"{where}: has {len(fields)} channels, the header says {header.channels}")
    rows = [_values(field, f"{where}, channel {channel}") for channel, field in enumerate(fields)]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise InputError(
            f"{where}: its channels must have equally many samples, but have {min(lengths, default=0)} to "
            f"{max(lengths, default=0)}"
        )
    if header.length is not None and lengths != {header.length}:
        raise InputError(f"{where}: has {lengths.pop()} samples, the header says {header.length}")
    return np.array(rows), label


def _values(field: str, where: str) -> list[float]:
    if "(" in field:
        raise InputError(f"{where}: has time stamps, but only evenly sampled series can be read")
    try:
        return [float("nan") if value.strip() == "?" else float(value) for value in field.split(",")]
    except ValueError as error:
        word = str(error).rpartition(": ")[2]
        raise InputError(f"{where}: {word} is not a number; a missing value is '?'") from None
