"""A server on this machine that lives as long as a test needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers over connections that stay open, without a log."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the receipt of its headers

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(handler: type[Handler], **state: Any) -> Iterator[str]:
    """The address at which a handler answers. state: attributes of the handler."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (handler,), state))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
