"""Limits on memory and time, so that a small file or a setting cannot fill the memory or take hours.

Limits are compared with the sizes that a header declares, before anything is allocated. An environment variable raises
a limit: `ANYJEPA_LIMIT_MEMORY=16GB`. Call `check_size` for the expanded size of a file, and `LIMIT.check` for other
amounts:

    check_size(math.prod(shape) * dtype.itemsize, path.stat().st_size, f"{path}: 'signals'")
    COLUMNS.check(len(names), f"{path}")
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn

from anyjepa.errors import InputError

SMALL = 256 * 10**6
"""Bytes. The expansion of smaller data is not limited, such as a long column with one value."""

ORDINARY = 8
"""A file may always take this many times its size: 16-bit numbers and text become float64."""

_LOWERED: ContextVar[Mapping[str, int]] = ContextVar("lowered")  # limits of this thread by name

_POWERS = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12}


@dataclass(frozen=True)
class Limit:
    """A limit with a default in `unit`; `reason` says what it applies to."""

    name: str
    default: int
    unit: str
    reason: str

    @property
    def variable(self) -> str:
        """Environment variable that replaces the default."""
        return f"ANYJEPA_LIMIT_{self.name.upper()}"

    @property
    def value(self) -> int:
        """The current limit. Raises InputError if the environment variable is not a number."""
        return min(self._setting, _LOWERED.get({}).get(self.name, self._setting))

    @contextmanager
    def lowered(self, value: int) -> Iterator[None]:
        """Lower the limit to `value` for this thread, such as for requests from strangers."""
        token = _LOWERED.set({**_LOWERED.get({}), self.name: value})
        try:
            yield
        finally:
            _LOWERED.reset(token)

    @property
    def _setting(self) -> int:
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?) ?([kMGT]?)B?", text.strip())
        if not match:
            raise InputError(f"{self.variable}={text}: is not a number; write {shown(self.default, self.unit)}")
        return int(Fraction(match[1]) * 10 ** _POWERS[match[2]])

    def check(self, amount: float, what: str) -> None:
        """Raise InputError, which names the limit and how to raise it, if `what` needs more."""
        if amount > (limit := self.value):
            raise InputError(
                f"{what} needs {shown(amount, self.unit, 2)}, more than the limit of {shown(limit, self.unit)}; "
                f"to allow it, set {self.remedy(amount)}"
            )

    def refuse(self, what: str) -> NoReturn:
        """Raise the same error for a stream of unknown length, which is read only up to the limit."""
        raise InputError(
            f"{what} needs more than the limit of {shown(self.value, self.unit)}; "
            f"to allow it, set {self.remedy(2 * self.value)}"
        )

    def remedy(self, amount: float) -> str:
        """Setting of the variable that allows `amount`."""
        return f"{self.variable}={_enough(amount, self.unit)}"


MEMORY = Limit(
    "memory",
    4 * 10**9,
    "bytes",
    f"memory of one file or simulated data set; always allowed: {ORDINARY} times the size of the file",
)
EXPANSION = Limit(
    "expansion",
    100,
    "times",
    "memory of a file divided by its size, above 256 MB",
)
PIXELS = Limit("pixels", 64 * 2**20, "pixels", "one image or video frame")
COLUMNS = Limit("columns", 10**5, "columns", "columns of a table, signals of a record, or arrays in an archive")
DOCUMENT = Limit(
    "document",
    64 * 10**6,
    "bytes",
    "a file that is parsed as a whole: JSON, XML, DICOM, SCP-ECG, headers",
)
DISK = Limit(
    "disk",
    50 * 10**9,
    "bytes",
    "a temporary file: a decompressed .tar.gz archive, a download, or standard input",
)
MEMBERS = Limit("members", 5 * 10**6, "files", "files in an archive or a remote folder")
RECIPE = Limit("recipe", 256 * 10**3, "bytes", "a recipe")
PARAMETERS = Limit("parameters", 8 * 10**9, "parameters", "a model in training, including its teacher")
BATCH = Limit(
    "batch",
    64 * 10**9,
    "bytes",
    "the inputs of a micro-batch, or its tokens after one layer",
)
HDF5_SECONDS = Limit(
    "hdf5_seconds",
    30,
    "seconds",
    "time to examine an HDF5 file, plus 1 s per 50 MB; typical files take less than 1 s",
)
PASSES = Limit(
    "passes",
    10**6,
    "passes",
    "how often `predict --explain` runs the encoder: once for each part of each window of each record",
)

LIMITS = (
    MEMORY, EXPANSION, PIXELS, COLUMNS, DOCUMENT, DISK, MEMBERS, RECIPE, PARAMETERS, BATCH, HDF5_SECONDS, PASSES,
)  # fmt: skip


def check_size(needed: float, size: int, what: str) -> None:
    """Raise InputError if `what`, from a file of `size` bytes, needs too much memory.

    Up to ORDINARY times the size is always allowed, because then the file itself is large.
    """
    if needed <= size * ORDINARY:
        return
    times = math.ceil(needed / max(size, 1))
    if needed > SMALL and times > EXPANSION.value:
        more = f" and {MEMORY.remedy(needed)}" if needed > MEMORY.value else ""
        raise InputError(
            f"{what} needs {shown(needed, 'bytes', 2)}, {times} times the size of its file "
            f"({shown(size, 'bytes', 2)}), more than the limit of {EXPANSION.value} times; "
            f"to allow it, set {EXPANSION.remedy(times)}{more}"
        )
    MEMORY.check(needed, what)


def shown(amount: float, unit: str, digits: int = 6) -> str:
    """Format an amount with its unit, such as `5.8 GB` or `100 times`; `digits` are significant digits of bytes."""
    if unit == "bytes":
        power = min(int(math.log10(max(amount, 1))) // 3 * 3, 12)
        prefix = next(prefix for prefix, p in _POWERS.items() if p == power)
        return f"{_rounded(amount / 10**power, digits)} {prefix}B"
    return f"{int(amount):,} {unit}"


def _rounded(number: float, digits: int) -> str:
    return f"{number:.{digits}g}" if number < 10**digits else f"{number:.0f}"


def _enough(amount: float, unit: str) -> str:
    """A value of the variable that is at least `amount`."""
    if unit != "bytes":
        return str(math.ceil(amount))
    for prefix, power in reversed(_POWERS.items()):
        if amount >= 10**power:
            return f"{-(-math.ceil(amount) // 10**power)}{prefix}B"
    return "1B"


def unshared_size(
    value: Any, parts: Callable[[Any], Iterable[Any]], own: Callable[[Any], int], sizes: dict[int, int] | None = None
) -> int:
    """Size of nested values if each were stored as often as it occurs: the sum of `own` over all of them.

    parts: the values inside a value. Raises ValueError for a value that contains itself.
    """
    sizes = {} if sizes is None else sizes  # by id; 0 while the parts of a value are being counted
    if id(value) not in sizes:
        sizes[id(value)] = 0
        sizes[id(value)] = own(value) + sum(unshared_size(part, parts, own, sizes) for part in parts(value))
    elif not sizes[id(value)]:
        raise ValueError("a value in it contains itself")
    return sizes[id(value)]
