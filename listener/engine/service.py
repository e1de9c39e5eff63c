"""The engine's root: opens its pool and ports, says when it is ready, closes all of it at the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from chassis import lag
from chassis.admin import admin
from chassis.http import serve
from chassis.service import Lifecycle
from listener.engine.server import Engine
from listener.engine.settings import EngineSettings
from listener.offload.pool import Pool
from listener.offload.process import Budget
from listener.text.language import warm_up


async def main(lifecycle: Lifecycle, settings: EngineSettings) -> None:
    """Serve until told to stop."""
    async with opened(settings) as app:
        await serve_until_stopped(lifecycle, settings, app)


@asynccontextmanager
async def opened(settings: EngineSettings) -> AsyncIterator[web.Application]:
    """The engine's application, with the processes that it works on texts in."""
    warm_up()  # nobody waits here yet
    budget = Budget(settings.text_cpu_seconds, settings.text_memory_mb)
    async with Pool(budget, processes=settings.text_processes) as pool:
        yield Engine(pool).application()


async def serve_until_stopped(lifecycle: Lifecycle, settings: EngineSettings, app: web.Application) -> None:
    """Serve the application beside the admin port, and measure how late the loop is."""
    async with asyncio.TaskGroup() as group:
        lateness = group.create_task(lag.measure(), name="lag")
        async with (
            admin(settings.admin_listen, checks={}),
            serve(app, settings.listen, name="engine") as url,
        ):
            lifecycle.ready(f"serving {url}")
            await lifecycle.stopping.wait()
        lateness.cancel()
