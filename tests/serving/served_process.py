"""A process of `anyjepa serve` for tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def server(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and its address."""
    command = [sys.executable, "-m", "anyjepa", "serve", *map(str, arguments), "--port", "0", "--threads", "1"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"serving .+ at (http://127\.0\.0\.1:\d+)\n", line)
            assert match, line + process.communicate(timeout=30)[1]
            yield process, match[1]
        finally:
            process.kill()
