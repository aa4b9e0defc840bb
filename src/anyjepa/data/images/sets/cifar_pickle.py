"""Read the pickles in which CIFAR's python batches are published, without running anything that is in them."""

from __future__ import annotations

import pickletools
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.errors import InputError, reason

MOST_STEPS = 1_000_000
"""Most instructions in a pickle; the largest of CIFAR has 300,000. Each takes up to 100 bytes and 1 us."""

_PLAIN = re.compile(r"(SHORT_)?(BIN)?(INT|LONG|FLOAT|STRING|UNICODE|BYTES)[1248]?")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_ENCODE = "_codecs.encode"  # how Python 3 writes bytes for Python 2
FUNCTIONS = (
    _ENCODE,
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
)


@dataclass
class Call:
    """A call that a pickle asks for, which is never made."""

    name: str
    arguments: Any = None
    state: Any = None


def unpickled(content: bytes, where: Path) -> dict[str, Any]:
    """Values by name. Raises InputError for anything that is not a dictionary of plain values and arrays."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in damaged strings
            table = _interpret(content)
        if not isinstance(table, dict):
            raise ValueError(f"it contains a {type(table).__name__}")
    except Exception as error:  # a pickle can fail in any way
        raise InputError(f"{where}: cannot be read as a python batch of CIFAR ({reason(error)})") from None
    return table


def as_array(call: Call) -> np.ndarray:
    """The uint8 array that NumPy would make. Raises an Exception of any kind if it is not one."""
    _, shape, dtype, fortran, content = call.state
    if dtype.name != "numpy.dtype" or dtype.arguments[0] not in ("u1", b"u1") or fortran:
        raise ValueError("its array is not of bytes in rows")
    return np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, np.uint8).reshape(shape)


def _interpret(content: bytes) -> Any:
    """Build plain values; calls of known functions become `Call`, all other instructions are refused."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def above_mark() -> list[Any]:
        place = marks.pop()
        items = stack[place:]
        del stack[place:]
        return items

    def last(count: int) -> list[Any]:
        return [stack.pop() for _ in range(count)][::-1]

    for step, (code, value, _) in enumerate(pickletools.genops(content)):
        if step > MOST_STEPS:
            raise ValueError(f"it has more than {MOST_STEPS:,} parts")
        match code.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case name if _PLAIN.fullmatch(name):
                stack.append(value)
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if value is None else value] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "MARK":
                marks.append(len(stack))
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                stack.append(tuple(above_mark() if name == "TUPLE" else last(int(name[-1]))))
            case "LIST" | "EMPTY_LIST" as name:
                stack.append(above_mark() if name == "LIST" else [])
            case "APPEND" | "APPENDS" as name:
                items = above_mark() if name == "APPENDS" else last(1)
                stack[-1].extend(items)
            case "DICT" | "EMPTY_DICT" as name:
                stack.append(_table(above_mark() if name == "DICT" else []))
            case "SETITEM" | "SETITEMS" as name:
                items = above_mark() if name == "SETITEMS" else last(2)
                stack[-1].update(_table(items))
            case "GLOBAL" | "STACK_GLOBAL":
                function = value.replace(" ", ".") if value else ".".join(last(2))
                if function not in FUNCTIONS:
                    raise ValueError(f"it asks for '{function}', which is refused")
                stack.append(Call(function))
            case "REDUCE":
                function, arguments = last(2)
                stack.append(arguments[0] if function.name == _ENCODE else Call(function.name, arguments))
            case "BUILD":
                call, state = last(2)
                call.state = state
                stack.append(call)
            case name:
                raise ValueError(f"its instruction {name} is refused")
    return stack.pop()


def _table(items: list[Any]) -> dict[str, Any]:
    """A dictionary of keys and values in turn. Keys must be text: hashing nested tuples can take hours."""
    keys = [key.decode("latin1") if isinstance(key, bytes) else key for key in items[::2]]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("a key in it is not text")
    return dict(zip(keys, items[1::2], strict=True))
