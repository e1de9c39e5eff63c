"""A model server that keeps a log: when each call began and ended, by one clock. Every answer takes the same
time, unless it is told to misbehave.

Which request a call is for it learns from the mark in the prompt, nothing else.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

from aiohttp import web

MODELS = ("small:latest", "large:latest")
ANSWER_SECONDS = 0.4
LONG_SECONDS = 9.0
SENTENCE = "The ledger says that the barrels of salt left the harbour in spring and were counted in summer."
MARK = re.compile(r"ledger chaos-(\d+) ")

# busy, broken: refused with 503, 500. dropped: in the middle. silent: never a word. stalled: one word, then
# none. cut: ends without saying so. long: takes its time. gone: nobody answers there at all.
Fault = Literal["busy", "broken", "dropped", "silent", "stalled", "cut", "long", "gone"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
REFUSALS = {"busy": 503, "broken": 500}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Call:
    """One chat. Seconds since the epoch, by the monotonic clock."""

    mark: int
    model: str
    began: float
    ended: float = float("inf")
    whole: bool = False  # answered to its end; else the client left, or we misbehaved


@dataclass
class ModelServer:
    """`calls` is the log. With `misbehaving` a share of the calls goes wrong."""

    chance: random.Random
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    struck: int = 0
    _faults: tuple[Fault, ...] = ()
    _share: float = 0.0
    _epoch: float = field(default_factory=lambda: time.time() - time.monotonic())

    def now(self) -> float:
        return self._epoch + time.monotonic()

    def done_since(self, moment: float) -> int:
        """Calls answered to their end since then."""
        return sum(call.whole and call.ended >= moment for call in reversed(self.calls))

    @contextmanager
    def misbehaving(self, *faults: Fault, share: float) -> Iterator[None]:
        """So great a share of the calls goes wrong in one of these ways."""
        self._faults, self._share = faults, share
        try:
            yield
        finally:
            self._faults = ()

    @web.middleware
    async def away(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Nobody is there."""
        if "gone" not in self._faults:
            return await handler(request)
        self.struck += 1
        _hang_up(request)
        return web.Response()

    async def tags(self, _request: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name, "digest": "sha"} for name in MODELS]})

    async def show(self, _request: web.Request) -> web.Response:
        info = {"general.architecture": "llama", "llama.context_length": 8192}
        return web.json_response(
            {"capabilities": ["completion"], "model_info": info, "details": {"family": "llama"}}
        )

    async def version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "0.0.1"})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        found = MARK.search(json.dumps(body["messages"]))
        assert found, "every text of this test bears a mark"
        call = Call(int(found[1]), body["model"], self.now())
        self.calls.append(call)
        try:
            return await self._answer(request, call)
        finally:
            call.ended = self.now()

    async def _answer(self, request: web.Request, call: Call) -> web.StreamResponse:
        fault = self._draw()
        if status := REFUSALS.get(fault or ""):
            return web.json_response({"error": "not now"}, status=status)
        if fault == "silent":
            await asyncio.Event().wait()
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await self._say(response, call, LONG_SECONDS if fault == "long" else ANSWER_SECONDS)
        if fault == "dropped":
            _hang_up(request)
            return response
        if fault == "stalled":
            await asyncio.Event().wait()
        if fault != "cut":
            await response.write(_record(call.model, "", done=True))
        await response.write_eof()
        call.whole = fault in (None, "long")
        return response

    async def _say(self, response: web.StreamResponse, call: Call, seconds: float) -> None:
        """The whole answer, spread over the time."""
        first, middle, last = SENTENCE.partition(" in spring ")
        for text in (first, middle, last):
            await response.write(_record(call.model, text, done=False))
            await asyncio.sleep(seconds / 3)

    def _draw(self) -> Fault | None:
        if not self._faults or self.chance.random() >= self._share:
            return None
        self.struck += 1
        return self.chance.choice(self._faults)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _record(model: str, text: str, *, done: bool) -> bytes:
    record = {"model": model, "message": {"role": "assistant", "content": text}, "done": done}
    return json.dumps(record | ({"done_reason": "stop"} if done else {})).encode() + b"\n"


@asynccontextmanager
async def serving(chance: random.Random) -> AsyncIterator[ModelServer]:
    """It answers at `.url`."""
    server = ModelServer(chance)
    app = web.Application(middlewares=[server.away], client_max_size=16 * 1024 * 1024)
    app.router.add_get("/api/tags", server.tags)
    app.router.add_get("/api/version", server.version)
    app.router.add_post("/api/show", server.show)
    app.router.add_post("/api/chat", server.chat)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
