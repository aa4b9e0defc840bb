"""The command line as a function."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

from anyjepa.cli import main


class Done(NamedTuple):
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


def run_cli(*arguments: object) -> Done:
    """The command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv = mock.patch.object(sys, "argv", ["anyjepa", *map(str, arguments)])
    with argv, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as exit:
            code = int(exit.code or 0)
        else:
            raise AssertionError("the command line ended without SystemExit")
    return Done(code, out.getvalue(), err.getvalue())
