"""The engine's root: opens its pool and ports, says when it is ready, closes all of it at the end."""

import asyncio
from pathlib import Path

from chassis import lag
from chassis.admin import admin
from chassis.http import serve
from chassis.service import Lifecycle
from listener.engine.faults import Script, read_rules
from listener.engine.server import Engine
from listener.engine.settings import EngineSettings
from listener.offload.pool import Pool
from listener.offload.process import Budget
from listener.text.language import warm_up


async def main(lifecycle: Lifecycle, settings: EngineSettings, *, faults: Path | None) -> None:
    """Serve until told to stop. `faults` is a script of faults for tests, never given in production."""
    if faults:
        read_rules(faults)  # a script that cannot be read is a mistake to be told at once
    warm_up()  # nobody waits here yet
    budget = Budget(settings.text_cpu_seconds, settings.text_memory_mb)
    async with Pool(budget, processes=settings.text_processes) as pool, asyncio.TaskGroup() as group:
        engine = Engine(pool, Script(faults) if faults else None)
        lateness = group.create_task(lag.measure(), name="lag")
        async with (
            admin(settings.admin_listen, checks={}),
            serve(engine.application(), settings.listen, name="engine") as url,
        ):
            lifecycle.ready(f"serving {url}")
            await lifecycle.stopping.wait()
        lateness.cancel()
