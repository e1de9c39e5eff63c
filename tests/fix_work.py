"""The worker's side of a real database: jobs asked for by people, workers that claim them by hand, whole
workers.

`desk` is where people ask and rows are looked at; `desk.worker()` is a claimant with leased slots and a
connection of its own; `desk.working(hosts)` runs the real service in this process.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import asyncpg
import pytest
from psycopg.pq import ExecStatus

from chassis.database import connect, pool
from chassis.service import Lifecycle
from listener.queue import jobs, models, rescue, workers
from listener.queue.connection import GUARD
from listener.queue.jobs import Claimant, Claimed, Finished, Want
from listener.queue.models import Served
from listener.queue.rescue import Rescued
from listener.queue.silence import Suspect
from listener.queue.slots import lease_slots
from listener.work import service
from listener.work.settings import WorkSettings
from tests.fix_postgres import Database, free_port
from tests.sql.acting import acting, ask, sign_up

PATIENCE_SECONDS = 20.0
LOOK_AGAIN_SECONDS = 0.005
MANY = 1000
READY = """
select w.id from private.worker w
 where w.id <> all (%s) and w.models <> '{}' and exists (select from private.slot s where s.worker_id = w.id)
"""
TEXT = (
    "The bridge over the river will close in March. Its cables are corroded, the council said. Work on the"
    " bridge will cost 38 million pounds. The ferry will carry walkers over the river. A cat slept on a wall."
    " Drivers must take the road through Melford, a detour of 19 miles. The bakery on the corner sells bread"
    " from six in the morning. Engineers found the damage in a routine inspection last autumn. The repairs"
    " should take two years."
)


@dataclass(frozen=True)
class Hand:
    """A worker moved by the test: every call is one statement."""

    connection: "asyncpg.Connection[Any]"
    claimant: Claimant
    suspects: list[Suspect]

    async def claim(
        self, *models: int, free: int = MANY, around: bool = False, floor: int = jobs.LOWEST_TAG
    ) -> list[Claimed]:
        wants = [Want(model, free, floor) for model in models]
        return await jobs.claim(self.connection, self.claimant, wants, deadline_seconds=60, around=around)

    async def claim_one(self, model: int) -> Claimed:
        (claimed,) = await self.claim(model, free=1)
        return claimed

    async def finish(self, job: Claimed, body: str = "Short.") -> bool:
        return bool(await jobs.finish(self.connection, [Finished(job.claim, body, "{}", "{}")]))

    async def rescue(self, *, max_attempts: int = 5) -> Rescued:
        """As somebody who has seen what the test says of the others."""
        return await rescue.rescue(self.connection, self.suspects, max_attempts=max_attempts)

    async def renew(
        self,
        *claims: Claimed,
        models: Sequence[int] = (),
        hosts: Sequence[int] = (),
        leaving: bool = False,
    ) -> workers.Renewal:
        held = [(claim.job_id, claim.epoch) for claim in claims]
        return await workers.renew(
            self.connection, self.claimant, leaving=leaving, models=models, hosts=hosts, claims=held
        )


@dataclass
class Desk:
    """People, models, jobs; and what became of them."""

    database: Database
    open: contextlib.AsyncExitStack
    counter: Iterator[int] = field(default_factory=lambda: iter(range(MANY)))
    suspects: list[Suspect] = field(default_factory=list)

    def query(self, sql: LiteralString, *arguments: object) -> list[tuple[Any, ...]]:
        """As the superuser, past row security."""
        with self.database.connect() as connection:
            cursor = connection.execute(sql, arguments)
            # Not by its description: rows may be without columns.
            has_rows = cursor.pgresult and cursor.pgresult.status == ExecStatus.TUPLES_OK
            return list(cursor.fetchall()) if has_rows else []

    async def until(
        self, sql: LiteralString, *arguments: object, within: float = PATIENCE_SECONDS
    ) -> tuple[Any, ...]:
        """Waits until the query finds a row, and returns it."""
        connection = await connect(self.database.url(), name="until")
        numbered = _numbered(sql)
        try:
            async with asyncio.timeout(within):
                while (row := await connection.fetchrow(numbered, *arguments)) is None:
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
        finally:
            connection.terminate()
        return tuple(row)

    def person(self) -> UUID:
        return sign_up(self.database)

    def ask(self, person: UUID, text: str = TEXT, **columns: object) -> UUID:
        """A request inserted as a client would; of the default model unless `model` names one."""
        with acting(self.database, person) as connection:
            return ask(connection, text=text, **columns)

    def ask_many(self, person: UUID, count: int, **columns: object) -> list[UUID]:
        with acting(self.database, person) as connection:
            return [ask(connection, text=TEXT, **columns) for _ in range(count)]

    def call(self, person: UUID, function: LiteralString, request: UUID) -> None:
        """rpc/cancel or rpc/retry."""
        with acting(self.database, person) as connection:
            connection.execute(f"select from public.{function}(%s)", [request])

    def job(self, request: UUID) -> dict[str, Any]:
        """The request's root job."""
        found = self.query(
            "select to_jsonb(j) from private.job j where request_id = %s and kind = 'root'", request
        )
        return dict(found[0][0])

    async def model(self, name: str = "", *, slots: int = MANY, family: str = "llama") -> int:
        """A model served by a host, with slots; the default if it is the first."""
        name = name or f"model{next(self.counter)}:latest"
        connection = await self.connect()
        host = await models.put_host(connection, url=f"http://{name}", version="1")
        model_id = await models.add_model(connection, name)
        served = [Served(model_id, name, "sha", family, 8192, ("completion",))]
        await models.put_host_models(connection, host, served, slots_per_model=slots)
        await models.choose_default(connection, "")
        return model_id

    async def connect(self) -> "asyncpg.Connection[Any]":
        """A connection like a worker's."""
        connection = await connect(self.database.url("listener"), name="test", server_settings=GUARD)
        self.open.callback(connection.terminate)
        return connection

    def statements(self) -> contextlib.AbstractAsyncContextManager["asyncpg.Pool[Any]"]:
        """A pool like a worker's."""
        return pool(self.database.url("listener"), name="test", size=3, server_settings=GUARD)

    async def worker(self, *models: int, slots: int = MANY) -> Hand:
        """A registered worker that has leased slots of these models."""
        connection = await self.connect()
        claimant = await workers.register(connection, name="test", version="0")
        for model in models:
            hosts = [
                row[0]
                for row in self.query("select host_id from private.host_model where model_id = %s", model)
            ]
            await lease_slots(connection, claimant, model_id=model, hosts=hosts, most=slots)
        return Hand(connection, claimant, self.suspects)

    def expire(self, worker: Hand, *, lapsed: bool = True) -> None:
        """The others have seen the worker count no further for a whole lease, or only missing a renewal."""
        ((incarnation, renewals),) = self.query(
            "select incarnation, renewals from private.worker where id = %s", worker.claimant.worker_id
        )
        self.suspects.append(Suspect(worker.claimant.worker_id, incarnation, renewals, lapsed))

    @contextlib.asynccontextmanager
    async def working(self, *hosts: str, **changes: Any) -> AsyncIterator[Lifecycle]:
        """`listener work` in this process, ready; stopped in order on the way out."""
        lifecycle = Lifecycle()
        before = {row[0] for row in self.query("select id from private.worker")}
        running = asyncio.create_task(
            service.main(lifecycle, self.settings(*hosts, **changes)), name="working"
        )
        try:
            await self.until(READY, list(before))
            yield lifecycle
        finally:
            lifecycle.stopping.set()
            await running

    def settings(self, *hosts: str, **changes: Any) -> WorkSettings:
        """Production's, but hasty."""
        chosen: dict[str, Any] = {
            "log_level": "debug",
            "log_format": "json",
            "database_url": self.database.url("listener"),
            "admin_listen": f"127.0.0.1:{free_port()}",
            "hosts": hosts,
            "slots_per_model": 2,
            "default_model": "",
            "context_tokens": 8192,
            "keep_alive": "5m",
            "first_token_seconds": 5.0,
            "idle_seconds": 2.0,
            "deadline_seconds": 30.0,
            "max_attempts": 3,
            "budget_seconds": 3600.0,
            "keep_days": 0,
            "drain_seconds": 1.0,
            "text_processes": 2,
            "text_cpu_seconds": 20.0,
            "text_memory_mb": 512,
        }
        return WorkSettings(**(chosen | changes))


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    async with contextlib.AsyncExitStack() as stack:
        yield Desk(database, stack)


def _numbered(sql: str) -> str:
    """Psycopg's place-holders as asyncpg's."""
    head, *rest = sql.split("%s")
    return head + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))


def watch(desk: Desk, person: UUID) -> None:
    """Somebody has a stream of that person open."""
    desk.query(
        "update private.event_cursor set watched_until = now() + interval '1 min' where owner = %s"
        " returning n",
        person,
    )
