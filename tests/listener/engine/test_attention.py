"""Work for a client that goes away: it ends at its next checkpoint, or never begins."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest
from aiohttp import web

from chassis.http import application, serve
from listener.engine.attention import Checkpoint, ClientGone, attend

Handler = Callable[[web.Request], Awaitable[web.Response]]


async def _ask_and_leave(handler: Handler, working: threading.Event) -> None:
    """Serve `handler`, ask it once, and leave when `working` is set."""
    app = application(name="test", max_body_bytes=10)
    app.add_routes([web.get("/", handler)])
    async with serve(app, "127.0.0.1:0", name="test") as url, aiohttp.ClientSession() as session:
        asked = asyncio.ensure_future(session.get(url))
        assert await asyncio.to_thread(working.wait, 10)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked


async def test_work_ends_at_its_checkpoint_when_the_client_has_gone() -> None:
    working, ended = threading.Event(), threading.Event()

    def work(checkpoint: Checkpoint) -> None:
        late = time.monotonic() + 10
        try:
            while time.monotonic() < late:
                working.set()
                checkpoint()
        except ClientGone:
            ended.set()

    async def handler(request: web.Request) -> web.Response:
        try:
            await attend(request, None, work)
        except ClientGone:
            return web.Response(status=499)
        return web.Response()

    await _ask_and_leave(handler, working)
    assert await asyncio.to_thread(ended.wait, 10)


async def test_work_that_still_waits_for_a_thread_never_begins() -> None:
    waiting, free, begun = threading.Event(), threading.Event(), threading.Event()
    gone = asyncio.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(free.wait, 10)

        async def handler(request: web.Request) -> web.Response:
            waiting.set()
            try:
                await attend(request, executor, lambda _: begun.set())
            except ClientGone:
                gone.set()
                return web.Response(status=499)
            return web.Response()

        await _ask_and_leave(handler, waiting)
        async with asyncio.timeout(10):
            await gone.wait()
        free.set()
    assert not begun.is_set()
