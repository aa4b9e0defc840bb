"""The addresses of a service: health, metadata, embed and predict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

import anyjepa
from anyjepa.data.listing import counted
from anyjepa.errors import InputError, one_line
from anyjepa.runs.predictions import check_coverage
from anyjepa.serving.about import describe
from anyjepa.serving.bodies import JSON, NPZ, keys_of, line_of, media_of
from anyjepa.serving.log import ABOUT, Log
from anyjepa.serving.service import Question, Service

BODY_S = 30  # time for a client to send its request
Coverage = Annotated[
    float | None, Query(gt=0, lt=1, description="also give the answers that cannot be ruled out (docs/trust.md)")
]

# Schemas of the options of requests; any other option can have any value.
_SCHEMAS: dict[str, dict[str, Any]] = {
    "fs": {"type": "number", "description": "samples per second"},
    "leads": {"type": "array", "items": {"type": "string"}, "description": "names of the rows; default: the model's"},
    "unit": {"description": "mV (default), uV, V or a number of mV"},
    "genes": {"type": "array", "items": {"type": "string"}, "description": "names of the columns, which are counts"},
}
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {JSON: {"schema": {"type": "object"}}, NPZ: {}}, "description": "arrays by name, and warnings"},
    400: {"description": "The body is not what its media type says."},
    413: {"description": "The body is too large, or has too many windows."},
    415: {"description": "The media type is unknown."},
    422: {"description": "The records do not fit the model."},
    503: {"description": "Too many requests at once."},
}


def create_app(service: Service) -> FastAPI:
    """The application, for any ASGI server. Errors are JSON: {"detail": "one line"}."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    # FastAPI's own pages for /openapi.json load scripts from other servers.
    app = FastAPI(
        title=f"anyjepa: {one_line(service.name)}",
        version=anyjepa.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Log)
    app.add_exception_handler(InputError, _unfit)
    app.add_exception_handler(RequestValidationError, _invalid)
    about, active = describe(service), 0

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the service computes answers."""
        if not service.healthy:
            raise HTTPException(503, "the service no longer computes answers; start it again")
        return {"status": "ok"}

    @app.get("/metadata")
    async def metadata() -> dict[str, Any]:
        """What the model reads and returns, and the limits of the service."""
        return about

    @app.post("/embed", openapi_extra=_body_of(service), responses=_ANSWER)
    async def embed(request: Request) -> Response:
        """One vector per record, in order."""
        return await answer(request, predict=False)

    @app.post("/predict", openapi_extra=_body_of(service), responses=_ANSWER)
    async def predict(request: Request, coverage: Coverage = None) -> Response:
        """Probabilities and decisions of the classifier for each record, in order."""
        if service.classifier is None:
            raise HTTPException(404, "this model has no classifier; use /embed")
        if coverage is not None:
            check_coverage(service.model.loaded.calibration, coverage)
        return await answer(request, predict=True, coverage=coverage)

    async def answer(request: Request, predict: bool, coverage: float | None = None) -> Response:
        nonlocal active
        if active >= service.settings.queue:
            raise HTTPException(503, "too many requests at once; try again", {"Retry-After": "1"})
        active += 1
        try:
            accept, media = _accepted(request), _media(request)
            body = await _received(request, service.settings.max_bytes)
            result = await service.answer(Question(body, media, accept, predict, coverage))
        finally:
            active -= 1
        sizes = (result.records, "record", "records"), (result.windows, "window", "windows")
        request.scope[ABOUT] = tuple(counted(*size) for size in sizes)
        return Response(result.body, media_type=accept)

    return app


def _media(request: Request) -> str:
    """The media type of the body."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "the body: is compressed; send it without Content-Encoding, or as .npz")
    return request.headers.get("content-type", "none").partition(";")[0].strip().lower()


def _accepted(request: Request) -> str:
    """The media type of the answer: the first one that the client accepts."""
    for part in request.headers.get("accept", "*/*").lower().split(","):
        media = part.partition(";")[0].strip()
        if media in (JSON, NPZ):
            return media
        if media in ("*/*", "application/*"):
            return JSON
    raise HTTPException(406, f"answers are {JSON} or {NPZ}")


async def _received(request: Request, most: int) -> bytes:
    """The body. Raises HTTPException if it is larger than `most` bytes, or takes too long."""
    too_large = HTTPException(413, f"the body: is larger than {most / 1e6:g} MB; send fewer or shorter records")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 20 or int(length) > most):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise too_large
    except TimeoutError as error:
        raise HTTPException(408, f"the body: did not arrive within {BODY_S} s") from error
    return bytes(body)


def _body_of(service: Service) -> dict[str, Any]:
    """The body of a request in OpenAPI."""
    key, *options = keys_of(service.modality)
    layout = service.modality.usage.layout if service.modality.usage else ""
    properties = {key: {"type": "array", "items": {}, "description": layout}}
    properties |= {name: _SCHEMAS.get(name, {}) for name in options}
    schema = {"type": "object", "required": [key], "properties": properties, "additionalProperties": False}
    content = {media: {} for media in media_of(service.modality)} | {JSON: {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


async def _unfit(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": line_of(error)}, 422)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"detail": one_line(f"{first['loc'][-1]}: {first['msg']}")}, 422)
