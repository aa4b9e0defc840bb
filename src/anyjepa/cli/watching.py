"""`anyjepa watch`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli.output import console, echo
from anyjepa.errors import InputError

EVERY_S = 2.0


def watch(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Run folders, or folders of run folders; they need not exist yet."),
    ],
    once: Annotated[
        bool, typer.Option("--once", help="Print one table and exit; the default if the output is not a terminal.")
    ] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve a page on this machine instead.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="With --serve: port of the page; 0 chooses a free one.")
    ] = 8600,
) -> None:
    """Follow runs while they train: curves, signs of collapse, speed, time left and the verdict.

    Only reads the run folders, so it can be started and stopped at any time. Ends when all runs have finished, or with
    Ctrl-C.
    """
    from anyjepa.runs.watch import Watch

    if once and serve:
        raise InputError("watch: pass --once or --serve, not both")
    followed = Watch(runs)
    if serve:
        from anyjepa.report.live_server import live_server

        with live_server(followed, port) as server:
            echo(f"watching at http://127.0.0.1:{server.server_port}/ until Ctrl-C")
            server.serve_forever()
    shown = console()
    if once or not shown.is_terminal:
        shown.print(followed.look())
        return
    from rich.live import Live

    with Live(console=shown, auto_refresh=False, vertical_overflow="crop") as live:
        while not (seen := followed.look()).finished:
            live.update(seen, refresh=True)
            time.sleep(EVERY_S)
        live.update(seen, refresh=True)
