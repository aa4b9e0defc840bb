"""Normalise the cells of tables: names in their many spellings, and missing values."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

MISSING = frozenset(["", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "Null", "null", "<NA>", "NaT"])
"""Cells without a value, in addition to spreadsheet errors (`#N/A`, `#DIV/0!`). `None` may be a class name."""

_SPREADSHEET_ERROR = re.compile(r"#(N/A|N/A N/A|NA|NV|N/D|ND|#+|[^\W\d_][\w/]*[!?])")  # NV, N/D: German, French
_NUMBER = re.compile(r"-?[0-9]+([.,][0-9]+)?")
_WHOLE_FLOAT = re.compile(r"(-?[0-9]+)[.,]00?")  # '1.000' may mean a thousand
_QUOTED = re.compile(r'=?"(.*)"', re.DOTALL)  # ="007" prevents a spreadsheet from reading a number
_INVISIBLE = dict.fromkeys([*map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"), *range(0x202A, 0x202F)])
_CLEANED = '" \t\n\v\f\r\x1c\x1d\x1e\x1f'  # of ASCII
_AROUND = " \t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029\u200c\u200d"  # the last two join letters of some scripts


def clean(text: str) -> str:
    """Normalise a name: NFC, plain spaces, and no spaces, quotes or zero-width characters around it."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_INVISIBLE)
        text = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
    text = text.strip(_AROUND)
    if text.endswith('"') and len(text) > 1 and (quoted := _QUOTED.fullmatch(text)):
        return quoted[1].replace('""', '"').strip(_AROUND)
    return text


def clean_all(names: Iterable[str]) -> list[str]:
    """Apply `clean` to each name; fast if nothing needs cleaning."""
    names = list(names)
    joined = "".join(names)
    if joined.isascii() and not any(character in joined for character in _CLEANED):
        return names
    return [clean(name) for name in names]


def is_missing(cell: str) -> bool:
    """Whether a clean cell means a missing value."""
    return cell in MISSING or (cell.startswith("#") and _SPREADSHEET_ERROR.fullmatch(cell) is not None)


def clean_column(cells: Iterable[str]) -> Sequence[str | None]:
    """Apply `clean` to the cells of one column; missing cells become None.

    In a column of numbers, whole numbers lose the '.0' that pandas adds if another value is missing.
    """
    return _whole([None if is_missing(name) else name for name in clean_all(cells)])


def clean_ids(ids: Iterable[str]) -> list[str]:
    """Normalise ids of data like `clean_column` does for a table, so that they match; none is missing."""
    return [name or "" for name in _whole(clean_all(ids))]


def _whole(names: Sequence[str | None]) -> Sequence[str | None]:
    present = [name for name in names if name is not None]
    if not any("." in name or "," in name for name in present):
        return names
    if not all(_NUMBER.fullmatch(name) for name in present):
        return names
    whole = [name and _WHOLE_FLOAT.fullmatch(name) for name in names]
    return [match[1] if match else name for match, name in zip(whole, names, strict=True)]


def repeated(names: Iterable[str]) -> list[str]:
    """Names that occur more than once, in the order of the first."""
    return [name for name, count in Counter(names).items() if count > 1]


def near_miss(names: Iterable[str], others: Iterable[str]) -> tuple[str, str] | None:
    """Find two names that differ only in suffix, letter case, leading zeros, or a folder that one lacks."""
    full, last, bare = {}, {}, {}
    for other in others:
        folder, stem = _parts(other)
        full[folder, stem] = last[stem] = other
        if not folder:
            bare[stem] = other
    for name in names:
        folder, stem = _parts(name)
        if near := full.get((folder, stem)) or (bare if folder else last).get(stem):
            return name, near
    return None


def _parts(name: str) -> tuple[str, str]:
    """The folder of a name, and the rest without suffix and leading zeros."""
    folder, _, last = name.casefold().replace("\\", "/").rpartition("/")
    return folder, re.sub(r"\.[a-z][a-z0-9]{0,7}$", "", last).lstrip("0")
