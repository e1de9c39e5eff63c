"""The engine's root: opens its threads and ports, says when it is ready, closes all of it at the end."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chassis.admin import admin
from chassis.http import serve
from chassis.service import Lifecycle
from listener.engine.faults import Script, read_rules
from listener.engine.server import Engine
from listener.engine.settings import EngineSettings
from listener.text.language import warm_up


async def main(lifecycle: Lifecycle, settings: EngineSettings, *, faults: Path | None) -> None:
    """Serve until told to stop. `faults` is a script of faults for tests, never given in production."""
    if faults:
        read_rules(faults)  # a script that cannot be read is a mistake to be told at once
    await asyncio.to_thread(warm_up)
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="engine") as executor:
        engine = Engine(executor, Script(faults) if faults else None)
        async with (
            admin(settings.admin_listen, checks={}),
            serve(engine.application(), settings.listen, name="engine") as url,
        ):
            lifecycle.ready(f"serving {url}")
            await lifecycle.stopping.wait()
