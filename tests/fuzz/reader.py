"""What a reader is here: whole files to begin with, and what is done with damaged ones.

`build` writes folders of files, each a valid input; of a case one of them is copied and damaged, and `read` does with
the copy what a command would, and gives the values that must be finite.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any


class Gaps(list):
    """Values among which NaN is allowed: invalid samples, as the formats mark them."""


@dataclass(frozen=True)
class Reader:
    """build(folder, data): one folder per valid input; data: real records, if there are some.

    read(folder): values to be looked at. resign: makes checksums in the folder right again, or not.
    """

    build: Callable[[Path, Path | None], None]
    read: Callable[[Path], Iterator[Any]]
    damaged: str = "*"  # pattern of the names of files that are damaged
    resign: Callable[[Path, Random], None] | None = None


def shown(renderable: Any) -> None:
    from rich.console import Console

    Console(file=io.StringIO(), width=100).print(renderable)
