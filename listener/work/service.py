"""Composition root of `listener work`: opens, wires, says when it is ready, and stops in two steps."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, TypeAlias

import asyncpg
import structlog

from chassis import lag
from chassis.admin import admin
from chassis.database import passing, patiently, pool, told
from chassis.service import Lifecycle
from listener.model.chat import Patience
from listener.model.hosts import HostOptions, Hosts
from listener.offload.pool import Pool
from listener.offload.process import Budget
from listener.queue.connection import GUARD, KeptConnection
from listener.text.language import warm_up
from listener.work.attempt import AttemptContext
from listener.work.doorbell import Doorbell
from listener.work.gauges import QueueGauges
from listener.work.lease import RENEW_ANSWER_SECONDS, Lease
from listener.work.notices import Notices
from listener.work.previews import Previews
from listener.work.results import ResultWriter
from listener.work.retention import Retention
from listener.work.settings import WorkSettings
from listener.work.sweeper import Sweeper
from listener.work.worker import LOCK_TIMEOUT, Worker

NAME = "precis-work"
POOL_SIZE = 9  # outcomes, sweeps: short statements
CLAIM_SECONDS = 10.0
FINISH_SECONDS = 3.0  # after which each result is written by itself, for as long as that takes
FINISH_LOCK_TIMEOUT = "100ms"
PREVIEW_SECONDS = 3.0

Side: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

log = structlog.get_logger()


async def main(lifecycle: Lifecycle, settings: WorkSettings) -> None:
    """Work until told to stop, then drain."""
    async with AsyncExitStack() as stack:
        parts = await _open(stack, settings)
        warm_up()  # or the first answer would wait for it; nobody waits here, and no thread keeps a heap
        await patiently(parts.lease.register)
        async with asyncio.TaskGroup() as group:
            sides = [group.create_task(run(), name=name) for name, run in parts.sides.items()]
            for url in settings.hosts:
                sides.append(group.create_task(parts.hosts.watch(url), name=f"host {url}"))
            worker = group.create_task(parts.worker.run(), name="worker")
            await stack.enter_async_context(
                admin(settings.admin_listen, checks=parts.checks, refresh=parts.read_gauges)
            )
            lifecycle.ready(f"worker {parts.lease.claimant.worker_id}")
            await lifecycle.stopping.wait()
            await parts.worker.drain(settings.drain_seconds)
            await worker
            for side in sides:
                side.cancel()
        await _leave(parts.lease)


async def _leave(lease: Lease) -> None:
    try:
        await lease.unregister()
    except Exception as error:  # then the lease runs out, and another worker takes over
        if not passing(error):
            raise
        log.warning("lease.not_given_back", error=told(error))


@dataclass(frozen=True, slots=True)
class Parts:
    """What `main` starts."""

    worker: Worker
    lease: Lease
    hosts: Hosts
    sides: Mapping[str, Side]
    checks: Mapping[str, Callable[[], Awaitable[bool]]]
    read_gauges: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections for one purpose each."""

    claims: KeptConnection
    renewals: KeptConnection
    results: KeptConnection
    previews: KeptConnection


async def _open(stack: AsyncExitStack, settings: WorkSettings) -> Parts:
    url = settings.database_url
    statements = await stack.enter_async_context(
        pool(url, name=NAME, size=POOL_SIZE, waits=True, server_settings=GUARD)
    )
    connections = Connections(
        KeptConnection(url, name=f"{NAME}-claims", command_seconds=CLAIM_SECONDS, lock_timeout=LOCK_TIMEOUT),
        KeptConnection(url, name=f"{NAME}-lease", command_seconds=RENEW_ANSWER_SECONDS),
        KeptConnection(
            url, name=f"{NAME}-results", command_seconds=FINISH_SECONDS, lock_timeout=FINISH_LOCK_TIMEOUT
        ),
        KeptConnection(
            url, name=f"{NAME}-previews", command_seconds=PREVIEW_SECONDS, lock_timeout=FINISH_LOCK_TIMEOUT
        ),
    )
    for each in (connections.claims, connections.renewals, connections.results, connections.previews):
        await stack.enter_async_context(each)
    budget = Budget(settings.text_cpu_seconds, settings.text_memory_mb)
    texts = await stack.enter_async_context(Pool(budget, processes=settings.text_processes))
    return _wire(settings, statements, connections, texts)


def _wire(
    settings: WorkSettings, statements: "asyncpg.Pool[Any]", connections: Connections, texts: Pool
) -> Parts:
    url = settings.database_url
    partials = Previews(connections.previews)
    hosts = Hosts(
        statements,
        _host_options(settings),
        claimant=lambda: lease.claimant,
        changed=lambda: worker.reconnected(),
    )
    context = AttemptContext(
        statements,
        ResultWriter(connections.results),
        partials,
        texts,
        settings.deadline_seconds,
        settings.max_attempts,
        settings.budget_seconds,
        expect=lambda seconds: sweeper.expect(seconds),
    )
    worker = Worker(connections.claims, hosts=hosts, context=context)
    name = f"{socket.gethostname()}:{os.getpid()}"
    lease = Lease(connections.renewals, name=name, version=version("precis"), holder=worker)
    doorbell = Doorbell(url, name=f"{NAME}-bell", changed=worker.look)
    notices = Notices(
        url, statements, name=f"{NAME}-notices", handler=worker, worker=lambda: lease.claimant.worker_id
    )
    sweeper = Sweeper(
        statements,
        lease=lease,
        overdue=worker.overdue,
        max_attempts=settings.max_attempts,
        found=lease.nudge,
    )
    worker.attach(lease, doorbell, moved=sweeper.claimed)
    lease.on_register(notices.show_life)
    lease.seen_by(lambda: notices.shows_life)
    lease.on_renewal(sweeper.hear)
    sides: dict[str, Side] = {
        "lease": lease.run,
        "guard": lease.guard,
        "doorbell": doorbell.run,
        "notices": notices.run,
        "sweeper": sweeper.run,
        "partials": partials.run,
        "hosts": partial(hosts.forget_others, settings.hosts),
        **_always(settings, statements),
    }
    return Parts(worker, lease, hosts, sides, _checks(statements, lease, hosts), QueueGauges(statements).read)


def _always(settings: WorkSettings, statements: "asyncpg.Pool[Any]") -> dict[str, Side]:
    """What knows no worker. Nothing is deleted for its age unless that is asked for."""
    if settings.keep_days == 0:
        return {"lag": lag.measure}
    return {"lag": lag.measure, "retention": Retention(statements, keep_days=settings.keep_days).run}


def _checks(
    statements: "asyncpg.Pool[Any]", lease: Lease, hosts: Hosts
) -> dict[str, Callable[[], Awaitable[bool]]]:
    async def database() -> bool:
        return bool(await statements.fetchval("select true"))

    async def renewed() -> bool:
        return lease.fresh

    async def host() -> bool:
        return hosts.answering

    return {"database": database, "lease": renewed, "host": host}


def _host_options(settings: WorkSettings) -> HostOptions:
    keep_alive = settings.keep_alive
    return HostOptions(
        slots_per_model=settings.slots_per_model,
        default_model=settings.default_model,
        context_tokens=settings.context_tokens,
        # -1 is for ever: as a number only, since Go's durations need a unit.
        keep_alive=int(keep_alive) if keep_alive.lstrip("-").isdecimal() else keep_alive,
        patience=Patience(settings.first_token_seconds, settings.idle_seconds),
    )
