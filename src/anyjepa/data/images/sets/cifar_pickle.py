"""Python batches of CIFAR are pickles: read without running anything that is in them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from anyjepa.errors import InputError

MOST_STEPS = 1_000_000
"""Most instructions in a pickle; the largest of CIFAR has 300,000. Each takes up to 100 bytes and 1 us."""


def unpickled(content: bytes, where: Path) -> dict[Any, Any]:
    """The dictionary of a python batch. InputError for anything that is none: nothing in a file is ever run."""
    try:
        table = _Unpickler(content).load()
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


def _with_text_keys(load: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    """Refuse keys that are not text: hashing nested tuples can take hours. keys: their places on the stack."""

    def checked(self: _Unpickler) -> None:
        if not all(isinstance(key, (str, bytes)) for key in self.stack[keys]):
            raise pickle.UnpicklingError("a key in it is not text")
        load(self)

    return checked


def _build(self: _Unpickler) -> None:
    if not isinstance(self.stack[-2], (_Array, _Type)):
        raise pickle.UnpicklingError("it changes something that is not an array")
    _LOADS[pickle.BUILD[0]](self)


def _reduce(self: _Unpickler) -> None:
    """Call the replacements of NumPy's functions; limits how often a text may be converted to bytes."""
    _LOADS[pickle.REDUCE[0]](self)
    if isinstance(made := self.stack[-1], bytes):
        self.left -= len(made)
        if self.left < 0:
            raise pickle.UnpicklingError("it expands to more bytes than it has")


class _Counted(dict[int, Any]):
    """Dispatch table that raises after MOST_STEPS instructions, more than any pickle of CIFAR has."""

    steps = 0

    def __getitem__(self, code: int) -> Any:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise pickle.UnpicklingError(f"it has more than {MOST_STEPS:,} parts")
        return super().__getitem__(code)


_LOADS: Mapping[int, Any] = pickle._Unpickler.dispatch
_PLAIN = (  # create numbers, text, lists, tuples, tables and arrays; all others are refused
    "PROTO FRAME STOP MARK POP POP_MARK PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 LIST EMPTY_LIST APPEND APPENDS TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "DICT EMPTY_DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE BUILD"
)


class _Unpickler(pickle._Unpickler):  # in Python: the one in C allocates as much as a few bytes of a file tell it to
    """Makes nothing but plain values and arrays of bytes: every other name in a file is refused."""

    stack: list[Any]
    dispatch: ClassVar = {getattr(pickle, name)[0]: _LOADS[getattr(pickle, name)[0]] for name in _PLAIN.split()} | {
        pickle.SETITEM[0]: _with_text_keys(_LOADS[pickle.SETITEM[0]], slice(-2, -1)),
        pickle.SETITEMS[0]: _with_text_keys(_LOADS[pickle.SETITEMS[0]], slice(0, None, 2)),
        pickle.DICT[0]: _with_text_keys(_LOADS[pickle.DICT[0]], slice(0, None, 2)),
        pickle.BUILD[0]: _build,
        pickle.REDUCE[0]: _reduce,
    }
    KNOWN: Mapping[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
        ("_codecs", "encode"): _latin1,  # how Python 3 writes bytes for Python 2
    }

    def __init__(self, content: bytes):
        super().__init__(io.BytesIO(content), encoding="bytes")
        self.dispatch = _Counted(self.dispatch)  # pyright: ignore[reportAttributeAccessIssue]
        self.left = len(content)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self.KNOWN:
            return self.KNOWN[module, name]
        raise pickle.UnpicklingError(f"it asks for '{module}.{name}', which is refused")
