"""The smallest thing that answers like a model server: any models, one sentence, at once or when the test
says so."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from aiohttp import web

S = TypeVar("S", bound="SmallServer")
SENTENCE = "Everything is said in one sentence."


@dataclass
class SmallServer:
    """`open` lets answers through; `calls` counts chats, `running` those that wait, `most` how many did at
    once. So many as are `busy` are turned away."""

    models: list[str]
    url: str = ""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0
    running: int = 0
    most: int = 0
    closed: int = 0
    busy: int = 0
    headers: dict[str, str] = field(default_factory=dict)  # of who is turned away
    listing: bytes = b""  # instead of a true one
    shown: dict[str, bytes] = field(default_factory=dict)  # of these models, instead of what is true

    async def tags(self, _request: web.Request) -> web.Response:
        if self.listing:
            return web.Response(body=self.listing, content_type="application/json")
        return web.json_response({"models": [{"name": name, "digest": "sha"} for name in self.models]})

    async def show(self, request: web.Request) -> web.Response:
        if odd := self.shown.get((await request.json())["model"]):
            return web.Response(body=odd, content_type="application/json")
        info = {"general.architecture": "llama", "llama.context_length": 8192}
        details = {"family": "llama"}
        return web.json_response({"capabilities": ["completion"], "model_info": info, "details": details})

    async def version(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "0.0.1"})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.busy:
            self.busy -= 1
            busy = {"error": "server busy, please try again"}
            return web.json_response(busy, status=503, headers=self.headers)
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.closed += 1
            raise
        finally:
            self.running -= 1
        message = {"role": "assistant", "content": SENTENCE}
        first = {"model": body["model"], "message": message, "done": False}
        last = {
            "model": body["model"],
            "message": message | {"content": ""},
            "done": True,
            "done_reason": "stop",
        }
        return web.Response(
            text=f"{json.dumps(first)}\n{json.dumps(last)}\n", content_type="application/x-ndjson"
        )


@asynccontextmanager
async def serving(*models: str, kind: type[S] = SmallServer) -> AsyncIterator[S]:  # type: ignore[assignment]
    server = kind(list(models))
    server.open.set()
    app = web.Application()
    app.router.add_get("/api/tags", server.tags)
    app.router.add_get("/api/version", server.version)
    app.router.add_post("/api/show", server.show)
    app.router.add_post("/api/chat", server.chat)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        server.open.set()
        await runner.cleanup()


async def is_running(server: SmallServer, count: int) -> None:
    """Waits until so many calls do."""
    async with asyncio.timeout(10):
        while server.running != count:
            await asyncio.sleep(0.002)
