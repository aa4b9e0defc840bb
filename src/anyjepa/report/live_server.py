"""A web server for the live page of runs, which only answers on this machine."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from anyjepa.errors import InputError
from anyjepa.hosts import is_local
from anyjepa.report.live import live_body, live_page
from anyjepa.runs.watch import Watch

HOST = "127.0.0.1"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def live_server(watch: Watch, port: int) -> ThreadingHTTPServer:
    """Create a server of the live page on 127.0.0.1; port 0 means any free port. Raises InputError."""
    look = Lock()  # one request at a time

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """The page at '/', and its newest content at '/now'."""
            make = {"/": live_page, "/now": live_body}.get(self.path)
            if make is None or not is_local(self.headers.get("Host", "")):
                self.send_error(404)
                return
            with look:
                content = make(watch.look()).encode(errors="backslashreplace")
            self.send_response(200)
            for name, value in (
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", str(len(content))),
                ("Content-Security-Policy", POLICY),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged."""

    try:
        server = ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise InputError(f"port {port}: cannot be used ({error.strerror}); pass another --port") from None
    return server
