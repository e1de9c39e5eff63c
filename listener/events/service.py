"""The composition root of `listener events`: opens, wires, serves, and closes again.

The only module here that knows how the others are built.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from chassis.admin import admin
from chassis.backoff import Backoff
from chassis.database import Pool, passing, patiently, pool, told
from chassis.http import serve
from chassis.listen import ListenConnection
from chassis.service import Lifecycle
from listener.events import retention
from listener.events.app import Services, build, farewell
from listener.events.fetcher import FETCHERS, fetch
from listener.events.hub import Hub
from listener.events.keys import REREAD_SECONDS, Keys
from listener.events.notices import listen
from listener.events.reader import Reader
from listener.events.settings import EventsSettings
from listener.events.watch import WAITING_AT_ONCE, Watches

POOL_SIZE = FETCHERS + WAITING_AT_ONCE + 4  # and some for opening streams, tickets, keys and pruning
# Every statement here finds its rows by an index, and planning would take longer than running. A plan that
# was made while the tables were still empty must not stay.
PLANNING = {
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}
SWEEP_SECONDS = 1.0
RETRY_BASE_SECONDS = 0.1
RETRY_CAP_SECONDS = 5.0

log = structlog.get_logger()


async def main(lifecycle: Lifecycle, settings: EventsSettings) -> None:
    """Serve until `lifecycle.stopping`, then say goodbye on every stream."""
    hub = Hub(streams_max=settings.streams_max, streams_per_account=settings.streams_per_account)
    async with pool(
        settings.database_url, name="precis events", size=POOL_SIZE, waits=True, server_settings=PLANNING
    ) as connections:
        keys, watches = Keys(connections), Watches(connections)
        services = Services(settings, connections, hub, keys, Reader(connections), watches)
        notices = listen(settings.database_url, connections, hub, watches)
        await patiently(keys.refresh)
        async with asyncio.TaskGroup() as group:
            tasks = _start(group, services, notices)
            await notices.listening.wait()
            await _serve(lifecycle, services, notices)
            for task in tasks:
                task.cancel()


async def _serve(lifecycle: Lifecycle, services: Services, notices: ListenConnection) -> None:
    settings = services.settings
    checks = {"database": lambda: _answers(services.pool), "notices": lambda: _is_set(notices.listening)}
    async with (
        admin(settings.admin_listen, checks=checks),
        serve(build(services), settings.listen, name="events") as url,
    ):
        lifecycle.ready(f"streams at {url}")
        await lifecycle.stopping.wait()
        services.hub.stop(lambda: farewell("shutdown"))


def _start(
    group: asyncio.TaskGroup, services: Services, notices: ListenConnection
) -> list[asyncio.Task[None]]:
    hub, connections = services.hub, services.pool
    sides = {
        "notices": notices.run(),
        "watches": services.watches.keep(hub.seated, lambda owner: hub.mark(owner, partials=True)),
        "sweep": _sweep(hub),
        "keys": _each(REREAD_SECONDS, services.keys.refresh),
        "retention": _each(retention.PRUNE_SECONDS, lambda: retention.prune(connections)),
    }
    sides |= {f"fetcher {n}": fetch(hub, services.reader) for n in range(FETCHERS)}
    return [group.create_task(side, name=f"events {name}") for name, side in sides.items()]


async def _sweep(hub: Hub) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        hub.sweep()


async def _each(seconds: float, action: Callable[[], Awaitable[None]]) -> None:
    """Do it again and again; soon again where the database was in trouble."""
    delays = Backoff(base=RETRY_BASE_SECONDS, cap=RETRY_CAP_SECONDS)
    while True:
        pause = seconds
        try:
            await action()
            delays.reset()
        except Exception as error:
            if not passing(error):
                raise
            log.warning("events.put_off", error=told(error))
            pause = delays.next()
        await asyncio.sleep(pause)


async def _answers(connections: Pool) -> bool:
    return await connections.fetchval("select true") is True


async def _is_set(event: asyncio.Event) -> bool:
    return event.is_set()
