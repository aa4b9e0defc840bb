"""Another process that holds a lock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CODE = """
import pathlib, sys
from anyjepa.locking import locked

with locked(pathlib.Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    input()
"""


@contextmanager
def held_elsewhere(file: Path) -> Iterator[None]:
    """Another process holds the lock inside the context; then it is killed."""
    command = [sys.executable, "-c", CODE, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.kill()
