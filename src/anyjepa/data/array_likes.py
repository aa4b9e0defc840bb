"""Array-like input: masked arrays, tensors and pandas columns. Entries are matched by position, never by index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from anyjepa.data.tables.cells import clean, clean_column, is_missing
from anyjepa.errors import InputError, reason

_EXACT = {2: 2**11, 4: 2**24}
"""Bytes of a float -> whole number from which it rounds whole numbers; other floats round from 2**53."""


def as_array(values: Any, where: str) -> np.ndarray:
    """Convert numbers to a NumPy array; a plain array is returned as it is.

    values: an array of any library that NumPy understands, a tensor on any device (bfloat16 becomes float32), a pandas
    column, or nested lists of those. Masked and missing values become NaN; values under a mask are never used.
    Raises InputError for values that are not real numbers, and for DataFrames, whose columns have names.
    """
    wrong = f"{where}: is a {type(values).__name__}; pass an array of numbers, such as .to_numpy() of a table"
    if isinstance(values, (str, bytes, Mapping, Set)) or hasattr(values, "columns"):
        raise InputError(wrong)
    try:
        array = _plain(values, where)
    except InputError:
        raise
    except Exception as error:  # each library raises its own for what it cannot convert
        raise InputError(f"{where}: is not an array of numbers ({reason(error)})") from error
    if array.dtype.kind == "O" and not array.ndim:  # NumPy knows no array in it: None, a sparse matrix
        raise InputError(wrong)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{where}: values of type {array.dtype} are not numbers")
    return array


def as_records(values: Any, where: str) -> np.ndarray | list[Any]:
    """Convert records to one array of numbers (see `as_array`), or a list or column of objects to a list."""
    column = getattr(values, "ndim", 0) == 1 and _kind(values) == "O"  # a pandas column or its .to_numpy()
    holds_records = not hasattr(values, "__array__") or column
    return as_list(values, where) if holds_records else as_array(values, where)


def as_list(values: Any, where: str) -> list[Any]:
    """List the entries of a list, array, pandas column or generator by position.

    Raises InputError for a string, an unordered collection, or more than one axis.
    """
    ndim = getattr(values, "ndim", 1)
    if isinstance(values, (str, bytes, Mapping, Set)) or not isinstance(values, Iterable) or ndim != 1:
        kind = f"has {ndim} axes" if ndim != 1 else f"is a {type(values).__name__}"
        raise InputError(f"{where}: {kind}; it must be a list, one entry per record")
    return list(_tensor(values))


def as_names(values: Any, count: int, where: str) -> list[str | None]:
    """Convert `count` names to clean texts, as in a table (see `tables.cells.clean_column`).

    Missing names (None, NaN, NA, NaT, masked entries, and texts such as 'n/a') become None. Whole floats are written as
    whole numbers: 1.0 becomes '1', 1.5 stays '1.5'. Raises InputError, also for numbers that a float has rounded.
    """
    return [name if name != "None" else None for name in clean_column(_texts(values, count, where))]


def as_ids(values: Any, count: int, where: str) -> list[str]:
    """Convert `count` ids to texts. Raises InputError if one is missing or repeated."""
    names = _texts(values, count, where)
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        if is_missing(cell := clean(name)) or cell == "None":
            raise InputError(f"{where}[{place}]: is missing; every record needs an id")
        if first.setdefault(name, place) != place:
            raise InputError(f"{where}[{place}]: '{name}' is also the id of entry {first[name]}; ids must be unique")
    return names


def as_classes(labels: Any, count: int) -> list[str]:
    """Convert the classes of `count` records to names; booleans become 'True' and 'False'. Raises InputError."""
    spelt = [str(label) if isinstance(label, (bool, np.bool_)) else label for label in as_list(labels, "labels")]
    classes = as_names(spelt, count, "labels")
    if None in classes:
        raise InputError(f"labels[{classes.index(None)}]: is missing; every record needs a class")
    return [name for name in classes if name is not None]


def _texts(values: Any, count: int, where: str) -> list[str]:
    entries = as_list(values, where)
    if len(entries) != count:
        raise InputError(f"{where}: {len(entries)} entries for {count} records; give one per record")
    return [_name(entry, f"{where}[{place}]") for place, entry in enumerate(entries)]


def _plain(values: Any, where: str) -> np.ndarray:
    if isinstance(values, (list, tuple)) and any(map(_is_array, values)):
        return np.stack([_plain(value, where) for value in values])
    values = _tensor(values)
    if isinstance(values, np.ma.MaskedArray):
        if values.dtype.kind not in "iuf" or not np.ma.is_masked(values):
            return values.data
        return np.ma.filled(values.astype(np.result_type(values.dtype, np.float32)), np.nan)
    if hasattr(values, "isna") and not isinstance(values.dtype, np.dtype) and _kind(values) in ("i", "u", "f"):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)  # a nullable column of pandas
    return np.asarray(values)


def _kind(values: Any) -> str:
    """The dtype kind of an array or a pandas column; '' for anything else."""
    return getattr(getattr(values, "dtype", None), "kind", "")


def _is_array(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (hasattr(value, "__array__") and not isinstance(value, np.generic))


def _tensor(values: Any) -> Any:
    """Convert a PyTorch tensor to an array, and return anything else unchanged."""
    if not hasattr(values, "detach"):
        return values
    narrow = values.is_floating_point() and values.itemsize < 4  # NumPy has no bfloat16
    return (values.float() if narrow else values).numpy(force=True)


def _name(value: Any, where: str) -> str:
    """Convert an entry to text, and a missing one to ''."""
    import pandas as pd

    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: {value!r} is not UTF-8 text") from error
    value = _tensor(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value if isinstance(value, np.ma.MaskedArray) else value[()]
    if value is np.ma.masked:
        return ""
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, Iterable) and not isinstance(value, str)):
        raise InputError(f"{where}: is {value!r}; it must be a text or a number")
    if pd.isna(value):
        return ""
    if isinstance(value, (float, np.floating)) and abs(value) >= _EXACT.get(getattr(value, "itemsize", 8), 2**53):
        raise InputError(f"{where}: {value:g} is too large for a float, which rounds it; pass whole numbers or texts")
    whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    text = str(int(value)) if whole else str(value)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{where}: {text!r} is not valid text: it contains half of a character")
    return text
