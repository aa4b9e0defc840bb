"""Python batches of CIFAR are pickles: read without running anything that is in them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from anyjepa.errors import InputError


def unpickled(content: bytes, where: Path) -> dict[Any, Any]:
    """The dictionary of a python batch. InputError for anything that is none: nothing in a file is ever run."""
    try:
        table = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if isinstance(table, dict):
            return {key: x.array() if isinstance(x, _Array) else x for key, x in table.items()}
        reason = f"it holds a {type(table).__name__}"
    except KeyError:
        reason = "it is no pickle, or a damaged one"
    except Exception as error:  # a pickle can fail in any way
        reason = str(error) or type(error).__name__
    raise InputError(f"{where}: cannot be read as a python batch of CIFAR ({reason})")


class _Array:
    """What stands for an array of bytes while its pickle is read: what NumPy would be told, kept and checked."""

    def __init__(self, *_: object):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        _, shape, kind, fortran, content = self.state
        if not isinstance(kind, _Type) or kind.name not in ("u1", b"u1") or fortran:
            raise ValueError("an array in it is not of bytes in rows")
        return np.frombuffer(content, np.uint8).reshape(shape)


class _Type:
    def __init__(self, name: str | bytes, *_: object):
        self.name = name

    def __setstate__(self, state: object) -> None:
        pass  # byte order, which bytes have none of


def _latin1(text: str, encoding: str | bytes) -> bytes:
    return text.encode("latin1")


class _Unpickler(pickle._Unpickler):  # in Python: the one in C allocates as much as a few bytes of a file tell it to
    """Makes nothing but plain values and arrays of bytes: every other name in a file is refused."""

    dispatch: ClassVar = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]
    }
    KNOWN: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
        ("_codecs", "encode"): _latin1,  # how Python 3 writes bytes for Python 2
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self.KNOWN:
            return self.KNOWN[module, name]
        raise pickle.UnpicklingError(f"it asks for '{module}.{name}', which is refused")
