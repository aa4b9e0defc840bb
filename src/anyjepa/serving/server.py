"""Load a model, and serve it until a signal ends the process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import uvicorn

from anyjepa.errors import InputError
from anyjepa.runs.model import load
from anyjepa.serving.app import create_app
from anyjepa.serving.hosts import LocalHosts
from anyjepa.serving.log import LOGGER
from anyjepa.serving.service import Service
from anyjepa.serving.settings import Settings

FINISH_S = 30  # time for requests to finish after a signal


def serve(
    model: str, host: str, port: int, settings: Settings, device: str | None, announce: Callable[[str], None]
) -> None:
    """Serve a model (see `load`) until SIGTERM or SIGINT, then finish the requests that have begun.

    announce: called with one line as soon as clients can connect. Raises InputError for a model that cannot be loaded
    and for an address that cannot be used.
    """
    name = Path(model).resolve().name if Path(model).is_dir() else model
    app = create_app(Service(load(model, device=device), name, settings))
    listener = _listen(host, port)
    if ip_address(listener.getsockname()[0]).is_loopback:
        app.add_middleware(LocalHosts)
    shown = f"[{host}]" if ":" in host else host
    announce(f"serving {name} at http://{shown}:{listener.getsockname()[1]}")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=FINISH_S,
    )
    uvicorn.Server(config).run([listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
        raise InputError(f"--host {host} --port {port}: cannot be used ({reason})") from error
    # asyncio sets this only for sockets that it makes itself; without it, each answer waits 40 ms for a delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
