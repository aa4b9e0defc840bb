"""Refuse requests from web pages whose own domain name points to this machine (DNS rebinding)."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from anyjepa.hosts import is_local

MISDIRECTED = 421


class LocalHosts:
    """Middleware for a service that listens only on this machine: requests must name it by address or as localhost."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_local(Headers(scope=scope).get("host", "")):
            answer = JSONResponse({"detail": "the Host header must be localhost or an address"}, MISDIRECTED)
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)
