"""Work for a client that goes away: it ends at once with its process, or never begins."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from chassis.http import application, serve
from listener.engine.attention import ClientGone, attend
from listener.offload.pool import Pool
from tests.listener.engine.conftest import AMPLE
from tests.listener.offload.costly import spin, who

Handler = Callable[[web.Request], Awaitable[web.Response]]


async def _ask_and_leave(handler: Handler, working: asyncio.Event) -> None:
    """Serve `handler`, ask it once, and leave when `working` is set."""
    app = application(name="test", max_body_bytes=10)
    app.add_routes([web.get("/", handler)])
    async with serve(app, "127.0.0.1:0", name="test") as url, aiohttp.ClientSession() as session:
        asked = asyncio.ensure_future(session.get(url))
        async with asyncio.timeout(20):
            await working.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked


async def _leave(pool: Pool) -> str:
    """How the handler ends whose client leaves while the pool has its work to do."""
    working = asyncio.Event()
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handler(request: web.Request) -> web.Response:
        working.set()
        try:
            await attend(request, pool.run("client", spin, ""))
        except ClientGone:
            ended.set_result("gone")
        return web.Response()

    await _ask_and_leave(handler, working)
    async with asyncio.timeout(20):
        return await ended


async def test_work_ends_with_its_process_when_the_client_has_gone() -> None:
    async with Pool(AMPLE, processes=1) as pool:
        pid = await pool.run("before", who, "")
        assert await _leave(pool) == "gone"
        assert not Path(f"/proc/{pid}").exists()
        assert await pool.run("after", who, "") != pid


async def test_work_that_still_waits_for_a_process_never_begins() -> None:
    async with Pool(AMPLE, processes=1) as pool:
        pid = await pool.run("before", who, "")
        os.kill(pid, signal.SIGSTOP)
        held = asyncio.ensure_future(pool.run("other", who, ""))
        await asyncio.sleep(0)
        assert await _leave(pool) == "gone"
        os.kill(pid, signal.SIGCONT)
        assert await held == pid  # it was not asked for anything else
