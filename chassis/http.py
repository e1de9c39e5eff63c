"""What every HTTP process here does alike: errors in one shape, one log line a call, strict JSON bodies.

Knows no route and no domain error; listening and stopping are chassis.serving's.
"""

import asyncio
import json
import logging
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import structlog
from aiohttp import hdrs, web

from chassis.database import told, troubled
from chassis.errors import ApiError
from chassis.serving import serve

__all__ = ["SEVERITY", "ApiError", "application", "read_json", "serve"]

BODY_SECONDS = 10.0
JSON_MAX_DEPTH = 32
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
UNUSABLE = re.compile("[\0\ud800-\udfff]")  # Postgres takes neither
CLIENT_CLOSED = 499  # nginx's number for a client that went away; it is only ever logged

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()
SEVERITY = web.AppKey("severity", int)  # of the log line of a call that went well
_name = web.AppKey("name", str)
_started = web.RequestKey("started", web.StreamResponse)
_request_id = web.RequestKey("request_id", str)


def application(*, name: str, max_body_bytes: int) -> web.Application:
    """An application that answers and logs as all of ours; larger bodies than `max_body_bytes` get 413."""
    app = web.Application(middlewares=[_account_for], client_max_size=max_body_bytes)
    app[_name] = name
    app[SEVERITY] = logging.INFO
    app.on_response_prepare.append(_add_headers)
    return app


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body as an object. Raises ApiError: 415 type, 408 slow, 413 large, 400 no JSON, 422 unusable."""
    charset = (request.charset or "utf-8").lower()
    if request.content_type != "application/json" or charset != "utf-8":
        raise ApiError(415, "unsupported_media_type", "Send the body as application/json in UTF-8.")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise ApiError(415, "unsupported_encoding", "Send the body without compression.")
    return parse_object(await _read(request))


def parse_object(raw: bytes) -> dict[str, Any]:
    """JSON as we take it from outside: what `json` would bend, or Postgres break on, is refused."""
    try:
        text = raw.decode("utf-8")
        _check_depth(text)
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except ValueError as error:
        raise ApiError(400, "invalid_json", "Send a body that is valid JSON.", details=str(error)) from error
    if not isinstance(value, dict):
        raise ApiError(422, "invalid_body", "Send a JSON object.")
    _check_texts(value)
    return value


async def _read(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise ApiError(408, "body_too_slow", "Send the body faster.") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise ApiError(400, "broken_body", "Send the body completely.") from error


def _check_depth(text: str) -> None:
    # Beforehand, since the parser raises RecursionError, which is no ValueError.
    depth = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text, re.DOTALL):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > JSON_MAX_DEPTH:
            raise ValueError(f"nested deeper than {JSON_MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has a key twice")
    return made


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _check_texts(value: Any) -> None:
    if isinstance(value, str) and UNUSABLE.search(value):
        raise ApiError(422, "invalid_text", "Send text without NUL and without halves of surrogate pairs.")
    if isinstance(value, dict):
        _check_texts([*value, *value.values()])
    if isinstance(value, list):
        for item in value:
            _check_texts(item)


@web.middleware
async def _account_for(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, answer it whatever happens, and write its one line."""
    began = time.monotonic()
    request[_request_id] = _identify(request)
    line: dict[str, Any] = {"status": CLIENT_CLOSED}
    with structlog.contextvars.bound_contextvars(request_id=request[_request_id]):
        try:
            response = await _answer(request, handler, line)
            line["status"] = response.status
            return response
        finally:
            log.log(
                line.pop("severity", request.app[SEVERITY]),
                "http.request",
                app=request.app[_name],
                method=request.method,
                route=_route(request),
                duration_ms=round((time.monotonic() - began) * 1000, 1),
                **line,
            )


async def _answer(request: web.Request, handler: Handler, line: dict[str, Any]) -> web.StreamResponse:
    """The response; what more there is to say about it is added to the log line."""
    try:
        return await handler(request)
    except Exception as error:
        if started := request.get(_started):
            return _abort(request, started, error, line)
        if isinstance(error, web.HTTPException) and error.status < 400:
            return web.Response(status=error.status, headers=_own_headers(error))
        answer = _to_api_error(error)
        line |= {"error_code": answer.code, "severity": _severity(request, answer)}
        if answer.code == "internal":
            line["exc_info"] = error
        elif answer.status == 503 and answer is not error:
            line["cause"] = told(error)
        return answer.response()


def _to_api_error(error: Exception) -> ApiError:
    """The one map from what a handler raised to what is answered."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, web.HTTPException):
        return _translate(error)
    if troubled(error):
        message = "The database cannot be reached at the moment. Try again."
        return ApiError(503, "unavailable", message, headers={"Retry-After": "2"})
    return ApiError(500, "internal", "Something failed on our side. Try again, or report the request id.")


def _translate(error: web.HTTPException) -> ApiError:
    code, message = {
        404: ("not_found", "There is nothing at this address."),
        405: ("method_not_allowed", "Use one of the methods in the Allow header."),
        413: ("body_too_large", "Send a smaller body."),
    }.get(error.status, (f"http_{error.status}", error.reason))
    return ApiError(error.status, code, message, headers=_own_headers(error))


def _own_headers(error: web.HTTPException) -> dict[str, str]:
    of_the_body = (hdrs.CONTENT_TYPE, hdrs.CONTENT_LENGTH)
    return {name: value for name, value in error.headers.items() if name not in of_the_body}


def _severity(request: web.Request, answer: ApiError) -> int:
    if answer.status < 500:
        return request.app[SEVERITY]
    return logging.WARNING if answer.status == 503 else logging.ERROR


def _abort(
    request: web.Request, started: web.StreamResponse, error: Exception, line: dict[str, Any]
) -> web.StreamResponse:
    """The headers are out: only a cut connection still says that this answer is not complete."""
    if request.transport is not None:
        request.transport.abort()
    if isinstance(error, ConnectionError):
        line["cut"] = "by the client"
    else:
        line |= {"cut": "by an error", "severity": logging.ERROR, "exc_info": error}
    return started


def _identify(request: web.Request) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _route(request: web.Request) -> str:
    """The template, never the path: that one holds ids, and whatever a stranger typed."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unknown"


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    request[_started] = response
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store")
    if request_id := request.get(_request_id):
        response.headers["X-Request-Id"] = request_id
