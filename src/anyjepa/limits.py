"""What a file or a setting may cost at most, so that a small one cannot fill the memory or take hours.

A limit is compared with what a header declares, before anything is allocated. An environment variable raises it:
`ANYJEPA_LIMIT_MEMORY=16GB`. Call `check_size` for what a file expands to, and `LIMIT.check` for other amounts:

    check_size(math.prod(shape) * dtype.itemsize, path.stat().st_size, f"{path}: 'signals'")
    COLUMNS.check(len(names), f"{path}")
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import NoReturn

from anyjepa.errors import InputError

SMALL = 256 * 10**6
"""Bytes. What needs no more may expand any number of times, such as a long column with one value."""

ORDINARY = 8
"""Times its size that a file may always take: 16-bit numbers and text become float64."""

_POWERS = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12}


@dataclass(frozen=True)
class Limit:
    """A name, a default in `unit`, and the reason for the default."""

    name: str
    default: int
    unit: str
    reason: str

    @property
    def variable(self) -> str:
        """The environment variable that replaces the default."""
        return f"ANYJEPA_LIMIT_{self.name.upper()}"

    @property
    def value(self) -> int:
        """The limit in force. Raises InputError if the environment variable is not a number."""
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?) ?([kMGT]?)B?", text.strip())
        if not match:
            raise InputError(f"{self.variable}={text}: is not a number; write {shown(self.default, self.unit)}")
        return int(float(match[1]) * 10 ** _POWERS[match[2]])

    def check(self, amount: float, what: str) -> None:
        """Raises InputError, which names the limit and how to raise it, if `what` needs more."""
        if amount > (limit := self.value):
            raise InputError(
                f"{what} needs {shown(amount, self.unit, 2)}, more than the limit of {shown(limit, self.unit)}; "
                f"to allow it, set {self.remedy(amount)}"
            )

    def refuse(self, what: str) -> NoReturn:
        """Raises the same for a stream that is read up to the limit only, so that nobody knows how long it is."""
        raise InputError(
            f"{what} needs more than the limit of {shown(self.value, self.unit)}; "
            f"to allow it, set {self.remedy(2 * self.value)}"
        )

    def remedy(self, amount: float) -> str:
        """The setting of the variable that allows `amount`."""
        return f"{self.variable}={_enough(amount, self.unit)}"


MEMORY = Limit(
    "memory",
    4 * 10**9,
    "bytes",
    f"what one file, or one embedded data set, takes; a large file may take {ORDINARY} times its own size",
)
EXPANSION = Limit(
    "expansion",
    100,
    "times",
    "how many times its own size a file takes, if that is more than 256 MB; compressed data of any use take about 30",
)
PIXELS = Limit("pixels", 64 * 2**20, "pixels", "one image, or one frame of a video; a frame in 8K has 33 million")
COLUMNS = Limit("columns", 10**5, "columns", "columns of a table, signals of a record, arrays of an archive")
DOCUMENT = Limit(
    "document",
    64 * 10**6,
    "bytes",
    "a file that is parsed as a whole (JSON, XML, DICOM, SCP-ECG, headers), whose parts take about 20 times its size",
)
RECIPE = Limit("recipe", 256 * 10**3, "bytes", "a recipe; YAML is read at about 50 kB per second")
PARAMETERS = Limit(
    "parameters", 8 * 10**9, "parameters", "a model in training, with its teacher; V-JEPA 2's largest has 4 billion"
)
BATCH = Limit(
    "batch",
    64 * 10**9,
    "bytes",
    "the inputs of a micro-batch, or its tokens after one layer; V-JEPA's batch of 3072, for 48 GPUs, takes 30 GB",
)

LIMITS = (MEMORY, EXPANSION, PIXELS, COLUMNS, DOCUMENT, RECIPE, PARAMETERS, BATCH)


def check_size(needed: float, size: int, what: str) -> None:
    """Raises InputError if `what`, from a file of `size` bytes, needs too many bytes of memory.

    Up to ORDINARY times its size is always allowed: then it is the user's file that is large.
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
    """`5.8 GB`, `12 million parameters`, `100 times`: an amount in words, with so many significant digits."""
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
            return f"{math.ceil(amount / 10**power)}{prefix}B"
    return "1B"
