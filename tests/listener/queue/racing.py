"""Two statements of the queue at once: a scene for them, and ways to hold one of them up at a certain point.

What is held up waits for a lock of the test's, its snapshot taken: nothing depends on luck.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import psycopg

from listener.queue.jobs import Claim, Claimed
from listener.queue.rescue import Rescued
from listener.queue.slots import SlotKey, lease_slots
from tests.fix_work import Desk, Hand

BLOCKED = "select 1 where cardinality(pg_blocking_pids(%s)) > 0"
# Found before Postgres' own by whoever has the schema in front: a sweep waits here, its snapshot taken.
GATED_TURN = """
create schema if not exists gated;
grant usage on schema gated to listener;
create or replace function gated.pg_try_advisory_xact_lock(key bigint) returns boolean language plpgsql as $$
begin
  perform pg_advisory_lock_shared(pg_backend_pid()), pg_advisory_unlock_shared(pg_backend_pid());
  return pg_catalog.pg_try_advisory_xact_lock(key);
end $$
"""


async def blocked(desk: Desk, connection: "asyncpg.Connection[Any]") -> None:
    """The connection's statement waits for somebody's lock."""
    await desk.until(BLOCKED, connection.get_server_pid())


@contextlib.asynccontextmanager
async def held_up(desk: Desk, worker: Hand) -> AsyncIterator[None]:
    """What this worker claims or leases inside waits, its snapshot taken, until the end of the block."""
    holder = await desk.connect()
    async with holder.transaction():
        await holder.execute("select from private.worker where id = $1 for update", worker.claimant.worker_id)
        yield


@contextlib.asynccontextmanager
async def gated(desk: Desk, sweeper: Hand) -> AsyncIterator[None]:
    """What this sweeper begins inside waits, its snapshot taken, until the end of the block."""
    desk.query(GATED_TURN)
    await sweeper.connection.execute("set search_path = gated, pg_catalog")
    keeper = await desk.connect()
    async with keeper.transaction():
        await keeper.execute("select pg_advisory_xact_lock($1)", sweeper.connection.get_server_pid())
        yield


def vanish(desk: Desk, worker: Hand) -> None:
    """A renewal was missed and nobody holds the worker's session lock: a rescue takes it for gone, though it
    may claim until it is fenced."""
    desk.expire(worker, lapsed=False)


async def lease(desk: Desk, worker: Hand, model: int) -> list[SlotKey]:
    hosts = [row[0] for row in desk.query("select id from private.host")]
    return await lease_slots(worker.connection, worker.claimant, model_id=model, hosts=hosts, most=10)


async def rescue_with(sweeper: Hand) -> Rescued:
    return await sweeper.rescue()


@dataclass(frozen=True)
class Scene:
    """A request, the worker that runs it or will, and another that sweeps."""

    desk: Desk
    model: int
    person: UUID
    request: UUID
    worker: Hand
    sweeper: Hand

    @property
    def claim(self) -> Claim:
        """The newest, by `worker`."""
        row = self.desk.job(self.request)
        return Claim(row["id"], row["epoch"], self.worker.claimant.worker_id)

    def outcomes(self) -> list[str]:
        return [row[0] for row in self.desk.query("select outcome from private.attempt order by epoch")]

    def waiting(self) -> int:
        return int(self.desk.query("select sum(waiting) from private.event_cursor")[0][0])


async def scene(desk: Desk, *, running: bool = True) -> tuple[Scene, Claimed | None]:
    """With a model of its own; the request is running, or ready."""
    person = desk.person()
    name = f"{person}:latest"
    model = await desk.model(name)
    worker, sweeper = await desk.worker(model), await desk.worker()
    set_up = Scene(desk, model, person, desk.ask(person, model=name), worker, sweeper)
    return set_up, await worker.claim_one(model) if running else None


def told(connection: "psycopg.Connection[tuple[object, ...]]", sql: str, request: UUID) -> str:
    """Runs it as the person would; the code it was refused with."""
    try:
        connection.execute(sql, [request])
    except psycopg.Error as error:
        return str(json.loads(error.diag.message_primary or "{}").get("code"))
    return ""


async def met(desk: Desk, connection: "asyncpg.Connection[Any]", act: Awaitable[object]) -> Awaitable[object]:
    """The act under way: it has ended by itself, or waits for a lock."""
    acting_now = asyncio.ensure_future(act)
    waiting = asyncio.create_task(blocked(desk, connection))
    await asyncio.wait({acting_now, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return acting_now
