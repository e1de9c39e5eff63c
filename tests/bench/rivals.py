"""pgqueuer and procrastinate, through their public interfaces as their own benchmarks drive them: no-op jobs
laid in bulk, then drained. What each counts is the moments at which its handlers ended."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, LiteralString

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode
from procrastinate import App, PsycopgConnector
from psycopg_pool import AsyncConnectionPool

from tests.fix_postgres import Database

ENTRYPOINT = "noop"
# What has been done is cleared away before each round, by hand where there is no call for it.
CLEAR_PGQUEUER: LiteralString = "truncate pgqueuer, pgqueuer_log, pgqueuer_statistics"
SETTLE_PGQUEUER: LiteralString = "vacuum (analyze) pgqueuer, pgqueuer_log"
CLEAR_PROCRASTINATE: LiteralString = "truncate procrastinate_jobs cascade"
SETTLE_PROCRASTINATE: LiteralString = "vacuum (analyze) procrastinate_jobs, procrastinate_events"

Drain = Callable[[int, int], Awaitable[list[float]]]


@asynccontextmanager
async def pgqueuer(database: Database, connections: int) -> AsyncIterator[Drain]:
    """Installed; a call drains so many jobs in batches of that size, and tells when each ended."""
    owner = await asyncpg.connect(database.url())
    await Queries(AsyncpgDriver(owner)).install()

    async def drain(jobs: int, batch: int) -> list[float]:
        await owner.execute(CLEAR_PGQUEUER)
        await Queries(AsyncpgDriver(owner)).enqueue([ENTRYPOINT] * jobs, [None] * jobs, [0] * jobs)
        await owner.execute(SETTLE_PGQUEUER)
        ended: list[float] = []
        async with AsyncExitStack() as open_:
            consumers = []
            for _ in range(connections):
                connection = await asyncpg.connect(database.url())
                open_.push_async_callback(connection.close)
                consumers.append(_consumer(connection, ended))
            await asyncio.gather(*(c.run(batch_size=batch, mode=QueueExecutionMode.drain) for c in consumers))
        return ended

    try:
        yield drain
    finally:
        await owner.close()


def _consumer(connection: "asyncpg.Connection[Any]", ended: list[float]) -> PgQueuer:
    consumer = PgQueuer(AsyncpgDriver(connection))

    @consumer.entrypoint(ENTRYPOINT)
    async def noop(job: Job) -> None:
        ended.append(time.perf_counter())

    return consumer


@asynccontextmanager
async def procrastinate(database: Database, connections: int) -> AsyncIterator[Drain]:
    """Installed; a call drains so many jobs, so many at a time, and tells when each ended."""
    ended: list[float] = []
    connector = PsycopgConnector(
        conninfo=database.url(), min_size=connections, max_size=connections, pool_factory=_unchecked_pool
    )
    app = App(connector=connector)

    @app.task(name=ENTRYPOINT)
    async def noop() -> None:
        ended.append(time.perf_counter())

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        owner = await asyncpg.connect(database.url())

        async def drain(jobs: int, concurrency: int) -> list[float]:
            await owner.execute(CLEAR_PROCRASTINATE)
            await noop.batch_defer_async(*({} for _ in range(jobs)))
            await owner.execute(SETTLE_PROCRASTINATE)
            ended.clear()
            await app.run_worker_async(
                wait=False, concurrency=concurrency, listen_notify=False, install_signal_handlers=False
            )
            return list(ended)

        try:
            yield drain
        finally:
            await owner.close()


def _unchecked_pool(**options: Any) -> "AsyncConnectionPool[Any]":
    """It would ask each connection whether it lives before each statement: its other drivers do not."""
    return AsyncConnectionPool(**(options | {"check": None}))
