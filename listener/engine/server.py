"""The HTTP side of the engine: Ollama's endpoints and its errors. Knows no way to make an answer."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import Counter, Histogram

from chassis.http import CLIENT_CLOSED, application
from listener.engine import identity
from listener.engine.calls import (
    ENGINE_FAILED,
    Call,
    Refusal,
    read_chat,
    read_generate,
    read_model,
    read_object,
)
from listener.engine.replies import last_record, make_reply, read_call
from listener.offload.errors import TooCostlyError
from listener.offload.pool import SHORT_CHARACTERS, Pool

MAX_BODY_BYTES = 64 * 1024 * 1024
_LARGE_CHARACTERS = 100_000  # such calls take turns with the smaller ones: nobody knows whose they are
_POLL_SECONDS = 0.05  # aiohttp tells a handler of a closed connection only when it writes

CALLS = Counter("precis_engine_calls_total", "Calls of chat and generate, by how they ended.", ["outcome"])
COMPOSING = Histogram("precis_engine_compose_seconds", "Time to make an answer, without the time to send it.")

log = structlog.get_logger()

Reader = Callable[[dict[str, Any]], Call]
T = TypeVar("T")


class ClientGone(ConnectionError):
    """The client has closed its connection: nobody waits for the answer."""


@dataclass(slots=True)
class Engine:
    """The handlers, and what they share: the processes that make answers, and whether the model is loaded."""

    pool: Pool
    keep_alive: identity.KeepAlive = field(default_factory=identity.KeepAlive)

    def application(self) -> web.Application:
        """The application to serve."""
        app = application(name="engine", max_body_bytes=MAX_BODY_BYTES)
        app.middlewares.append(_in_ollamas_shape)
        app.add_routes(
            [
                web.get("/", _greet),
                web.get("/api/version", _version),
                web.get("/api/tags", _tags),
                web.get("/api/ps", self._ps),
                web.post("/api/show", _show),
                web.post("/api/chat", self._chat),
                web.post("/api/generate", self._generate),
            ]
        )
        return app

    async def _ps(self, _request: web.Request) -> web.Response:
        return web.json_response({"models": self.keep_alive.running()})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, read_chat)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, read_generate)

    async def _answer(self, request: web.Request, read: Reader) -> web.StreamResponse:
        """The response to a call, counted by how it ended. Raises Refusal."""
        try:
            return await self._make(request, read)
        except ClientGone:
            CALLS.labels("cancelled").inc()
            return web.Response(status=CLIENT_CLOSED)
        except Refusal:
            CALLS.labels("refused").inc()
            raise
        except web.HTTPException:
            raise
        except Exception as error:
            CALLS.labels("failed").inc()
            log.exception("engine.failed")
            raise Refusal(500, "the engine has failed at this text", code=ENGINE_FAILED) from error

    async def _make(self, request: web.Request, read: Reader) -> web.Response:
        """The response with the whole answer; one of its own if the call only loads or unloads."""
        raw = await request.read()
        call = await self._work(request, len(raw), read_call, read, raw)
        self.keep_alive.renew(call.keep_alive)
        if call.empty:
            reason = "unload" if call.keep_alive == 0 else "load"
            return web.json_response(last_record(call, "", reason))
        reply = await self._work(request, len(call.prompt), make_reply, call)
        COMPOSING.observe(reply.compose_ns / 1e9)
        CALLS.labels("done").inc()
        kind = "application/x-ndjson" if call.stream else "application/json; charset=utf-8"
        return web.Response(body=reply.body, headers={"Content-Type": kind})

    async def _work(
        self, request: web.Request, size: int, work: Callable[..., T | Refusal], *arguments: Any
    ) -> T:
        """What the work returns: done at once for a small call, else in a process that ends with the client.
        Raises Refusal, also one that the work returns, and ClientGone."""
        try:
            if size <= SHORT_CHARACTERS:
                made = work(*arguments)
            else:
                large = size > _LARGE_CHARACTERS
                made = await while_connected(request, self.pool.run(large, work, *arguments))
        except TooCostlyError as error:
            message = "the text takes more time or memory than this engine allows"
            raise Refusal(500, message, code=ENGINE_FAILED) from error
        if isinstance(made, Refusal):
            raise made
        return made


async def while_connected(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work returns. Raises ClientGone, once the work has been cancelled, if the client closes."""
    running = asyncio.ensure_future(work)
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=_POLL_SECONDS)
            if request.transport is None or request.transport.is_closing():
                raise ClientGone("the client has closed the connection")
        return running.result()
    finally:
        if running.cancel():
            with suppress(asyncio.CancelledError):
                await running


async def _greet(_request: web.Request) -> web.Response:
    return web.Response(text="Precis' extractive engine is running")


async def _version(_request: web.Request) -> web.Response:
    return web.json_response({"version": identity.VERSION})


async def _tags(_request: web.Request) -> web.Response:
    return web.json_response(identity.tags())


async def _show(request: web.Request) -> web.Response:
    raw = await request.read()
    if len(raw) > _LARGE_CHARACTERS:
        raise Refusal(413, "request body too large")
    read_model(read_object(raw))
    return web.json_response(identity.show())


@web.middleware
async def _in_ollamas_shape(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a client of Ollama expects of an error: `{"error": "..."}`."""
    try:
        return await handler(request)
    except Refusal as refusal:
        code = {"code": refusal.code} if refusal.code else {}
        return web.json_response({"error": refusal.message} | code, status=refusal.status)
    except web.HTTPException as error:
        words = {404: "not found", 405: "method not allowed", 413: "request body too large"}
        message = words.get(error.status, error.reason)
        return web.json_response({"error": message}, status=error.status)
