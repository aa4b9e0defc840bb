"""Read the body of a request by its media type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fastapi import HTTPException
from pydantic_core import from_json

from anyjepa.data.array_files import read_arrays
from anyjepa.data.files import Content
from anyjepa.data.modality import Modality
from anyjepa.errors import InputError, did_you_mean, one_line

JSON, NPZ = "application/json", "application/x-npz"


def keys_of(modality: Modality) -> tuple[str, ...]:
    """The keys that an object may have; the first one holds the values."""
    requests = modality.requests
    return requests.key, *modality.options, *requests.more


def media_of(modality: Modality) -> tuple[str, ...]:
    """The media types that a body may have."""
    return JSON, NPZ, *modality.requests.files


def line_of(error: Exception) -> str:
    """The text of an InputError for a client, without the advice on how to raise a limit of the server."""
    return str(error).partition("; to allow it, set ")[0]


def read_body(body: bytes, media: str, modality: Modality) -> tuple[Any, dict[str, Any]]:
    """Raw records and the options of `Model.prepared`.

    Raises HTTPException: 415 for another media type, and 400 for a body that is not what its media type says.
    """
    requests, keys = modality.requests, keys_of(modality)
    try:
        if media == JSON:
            values = _from_json(body, keys, requests.pixels)
        elif media == NPZ:
            values = read_arrays(Content(body, "the body"), keys, value_bytes=8)
            values |= {name: values[name].tolist() for name in keys[1:] if name in values}
        elif media in requests.files:
            values = requests.files[media](Content(body, "the body"))
        else:
            raise HTTPException(415, one_line(f"media type '{media}': send {', '.join(media_of(modality))}"))
    except InputError as error:
        raise HTTPException(400, line_of(error)) from error
    if requests.key not in values:
        raise HTTPException(400, f"the body: '{requests.key}' is missing; it contains the values")
    raw = values[requests.key] if requests.raw is None else requests.raw(values)
    return raw, {name: values.get(name) for name in modality.options}


def _from_json(body: bytes, keys: Sequence[str], pixels: bool) -> dict[str, Any]:
    try:
        values = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InputError(f"the body is not JSON ({error}); write null for an invalid sample") from error
    if not isinstance(values, Mapping):
        raise InputError(f"the body is a JSON {type(values).__name__}; it must be an object with {', '.join(keys)}")
    for name in values:
        if name not in keys:
            raise InputError(f"the body: unknown key '{name}'{did_you_mean(name, keys)}")
    if keys[0] not in values:
        return dict(values)
    return {**values, keys[0]: _records(values[keys[0]], keys[0], pixels)}


class _UnequalError(InputError):
    """Rows differ in length."""


def _records(value: Any, where: str, pixels: bool) -> np.ndarray | list[np.ndarray]:
    """Nested lists as one array, or as a list of arrays if records differ in size."""
    if not isinstance(value, list) or not _types(value) <= {int, float, type(None)}:
        raise InputError(f"{where}: must be nested lists of numbers")
    try:
        return _numbers(value, where, pixels)
    except _UnequalError:
        if not all(isinstance(record, list) and record and isinstance(record[0], list) for record in value):
            raise
    return [_numbers(record, f"{where}[{place}]", pixels) for place, record in enumerate(value)]


def _types(values: list[Any]) -> set[type]:
    """The types in nested lists, other than lists. NumPy would allot every text the memory of the longest one."""
    types = set(map(type, values))
    if list in types:
        types.remove(list)
        for value in values:
            if type(value) is list:
                types |= _types(value)
    return types


def _numbers(value: Any, where: str, pixels: bool) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)  # null becomes NaN
    except OverflowError as error:
        raise InputError(f"{where}: has a number that is too large") from error
    except ValueError as error:
        raise _UnequalError(f"{where}: must be nested lists of numbers, whose rows have the same length") from error
    if not pixels:
        return array
    levels = array.astype(np.uint8) if array.size and array.min() >= 0 and array.max() <= 255 else None
    if levels is None or (levels != array).any():
        raise InputError(f"{where}: pixels must be whole numbers from 0 to 255")
    return levels
