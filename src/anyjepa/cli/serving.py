"""`anyjepa serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from anyjepa.cli.options import DeviceOption, ImportOption, ModelArgument
from anyjepa.cli.output import echo
from anyjepa.errors import InputError
from anyjepa.serving.settings import Settings


def serve(
    model: ModelArgument,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 lets other machines connect.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 chooses a free one.")] = 8000,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Largest number of windows to encode at a time.")
    ] = Settings.batch,
    queue: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Largest number of requests at a time; more are refused with status 503."
        ),
    ] = Settings.queue,
    max_mb: Annotated[
        float, typer.Option(min=0.001, metavar="MB", help="Largest size of a request.")
    ] = Settings.max_bytes / 1e6,
    max_windows: Annotated[
        int, typer.Option(min=1, metavar="N", help="Largest number of windows in a request.")
    ] = Settings.max_windows,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of threads for encoding. Default: PyTorch's.")
    ] = None,
    device: DeviceOption = None,
    imports: ImportOption = None,
) -> None:
    """Serve a model over HTTP: send records, and get their embeddings or class probabilities.

    There is no access control: anyone who can connect can use the service.
    """
    try:
        from anyjepa.serving.server import serve
    except ModuleNotFoundError as error:
        raise InputError("serve: needs FastAPI and uvicorn: pip install 'anyjepa[serve]'") from error
    settings = Settings(
        batch=batch,
        queue=queue,
        max_bytes=int(max_mb * 1e6),
        max_windows=max_windows,
        threads=threads,
    )
    serve(model, host, port, settings, device, echo)
