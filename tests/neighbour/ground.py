"""The whole stack on a Postgres of its own: PostgREST, authsvc, events, two workers, a model server that is
told what to answer, and the built-in engine. As new for each scenario.
"""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from tests.chaos.crew import Worker, crew
from tests.fix_postgres import running_cluster
from tests.fix_stack import Stack, local, running_stack
from tests.neighbour import model_server
from tests.part import Part

WORKERS = 2
SLOTS = 2
PARTS = ("engine", "authsvc", "postgrest", "listener events")
LEAVING_SECONDS = 3.0
WORK = {"slots_per_model": SLOTS, "first_token_seconds": 5, "idle_seconds": 5, "drain_seconds": 1}


@dataclass
class Ground:
    """`anew` between scenarios."""

    stack: Stack
    workers: list[Worker]
    postgres: "asyncpg.Connection[asyncpg.Record]"  # a superuser's

    async def anew(self) -> None:
        """Nothing that one scenario did is felt in the next: no row, no full pool, no opened breaker. Who
        does not answer is started anew as well."""
        others = (self.stack.parts["postgrest"], self.stack.engine)
        stuck = [part for part in others if not await asyncio.to_thread(part.is_ready)]
        parts = [*stuck, *(worker.part for worker in self.workers)]
        for part in parts:
            part.ask_to_leave()
        for part in parts:
            await asyncio.to_thread(_gone, part)
        await self.postgres.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where usename in ('authenticator', 'listener') and backend_type = 'client backend'"
        )
        await self.postgres.execute("delete from private.request")
        for part in parts:  # from this thread: a process dies with the thread that started it
            part.start()
        for part in parts:
            await asyncio.to_thread(part.wait_ready)


def _gone(part: Part) -> None:
    assert part.process is not None
    try:
        part.process.wait(LEAVING_SECONDS)
    except subprocess.TimeoutExpired:
        part.kill()


@asynccontextmanager
async def ground() -> AsyncIterator[Ground]:
    """All parts, ready."""
    engine = local()
    with running_cluster() as cluster:
        database = cluster.create_database("neighbour")
        cluster.dbmate("neighbour", "up")
        async with model_server.serving() as url:
            changes = {
                "engine": {"listen": engine},
                "work": WORK | {"hosts": [url, f"http://{engine}"]},
                "authsvc": {"bcrypt_cost": 10},
            }
            with running_stack(database, parts=PARTS, **changes) as stack:
                async with crew(stack, straight=WORKERS, through_proxies=0) as workers:
                    postgres = await asyncpg.connect(database.url())
                    try:
                        yield Ground(stack, workers, postgres)
                    finally:
                        postgres.terminate()
                        for worker in workers:  # one that is held up would keep us from saying so
                            worker.kill()
