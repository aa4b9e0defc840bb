"""Log one line per request, without its content, and answer if the service fails."""

from __future__ import annotations

import logging
from time import perf_counter
from traceback import extract_tb

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOGGER = logging.getLogger("anyjepa.serve")
ABOUT = "anyjepa.about"  # key in a request's scope: texts for the log


class Log:
    """Middleware. Texts of requests and of unexpected errors may contain names of patients and are not logged."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = perf_counter(), 0

        async def observed(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except ClientDisconnect:
            pass
        except Exception as error:
            last = extract_tb(error.__traceback__)[-1]
            LOGGER.error("failed: %s in %s, line %s", type(error).__name__, last.name, last.lineno)
            if not status:
                await JSONResponse({"detail": "the service failed; its log says where"}, 500)(scope, receive, observed)
        finally:
            path = getattr(scope.get("route"), "path", "-")  # an unknown path can be any text
            took = f"{1e3 * (perf_counter() - begin):.1f} ms"
            level = logging.DEBUG if (path, status) == ("/health", 200) else logging.INFO  # requested every few seconds
            LOGGER.log(level, " ".join((path, str(status or "disconnected"), took, *scope.get(ABOUT, ()))))
