"""The queue as a whole, for `precis queue watch`: depth and age by model, what runs, workers and their slots,
the last failures. Read every second, so nothing is counted further than a screen tells apart."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row

from precis.queue.connection import Connection
from precis.queue.control import Pauses, read_pauses

MOST_COUNTED = 10_000
RECENT_SECONDS = 60 * 60  # failures that are still news

# `next_seconds`: for how long the one that is claimed next has been ready.
MODELS: LiteralString = """
select m.name, m.paused_at is not null as paused,
       (select count(*)::int from (select from private.job j where j.model_id = m.id and j.state = 'ready'
                                      and j.run_at is null limit %(most)s) x) as queued,
       (select extract(epoch from clock_timestamp() - j.updated_at)::float8 from private.job j
         where j.model_id = m.id and j.state = 'ready' and j.run_at is null
         order by j.tag, j.id limit 1) as next_seconds,
       coalesce(s.scheduled, 0) as scheduled, coalesce(r.running, 0) as running,
       (select count(*)::int from private.slot s where s.model_id = m.id) as slots,
       (select count(*)::int from private.slot s join private.worker w
            on w.id = s.worker_id and w.incarnation = s.incarnation where s.model_id = m.id) as leased
  from private.model m
  left join (select x.model_id, count(*)::int as scheduled
               from (select j.model_id from private.job j where j.state = 'ready' and j.run_at is not null
                      limit %(most)s) x group by x.model_id) s on s.model_id = m.id
  left join (select j.model_id, count(*)::int as running from private.job j where j.state = 'running'
              group by j.model_id) r on r.model_id = m.id
 order by m.name
"""
RUNNING: LiteralString = """
select j.request_id as id, a.email as owner, m.name as model, coalesce(w.name, '') as worker,
       extract(epoch from clock_timestamp() - j.claimed_at)::float8 as seconds, j.progress
  from private.job j
  join private.account a on a.id = j.owner
  join private.model m on m.id = j.model_id
  left join private.worker w on w.id = j.worker_id
 where j.state = 'running' order by j.claimed_at limit %(limit)s
"""
# A fenced worker, which is about to be forgotten, has no lease.
WORKERS: LiteralString = """
select w.id, w.name, w.version, w.draining, w.started_at,
       case when isfinite(w.lease_until) then extract(epoch from w.lease_until - clock_timestamp())::float8
            end as lease_seconds,
       array(select m.name from private.model m where m.id = any (w.models) order by m.name) as models,
       (select count(*)::int from private.slot s where s.worker_id = w.id and s.incarnation = w.incarnation)
         as slots,
       (select count(*)::int from private.job j where j.worker_id = w.id and j.state = 'running') as running
  from private.worker w order by w.id
"""
FAILURES: LiteralString = """
select j.request_id as id, a.email as owner, m.name as model, j.finished_at,
       extract(epoch from clock_timestamp() - j.finished_at)::float8 as ago_seconds, j.error_code
  from private.job j
  join private.account a on a.id = j.owner
  join private.model m on m.id = j.model_id
 where j.state = 'failed' and j.finished_at > now() - make_interval(secs => %(seconds)s)
 order by j.finished_at desc limit %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Model:
    """A model's queue and its slots; `queued` and `scheduled` are counted up to MOST_COUNTED."""

    name: str
    paused: bool
    queued: int
    next_seconds: float | None
    scheduled: int
    running: int
    slots: int
    leased: int


@dataclass(frozen=True, slots=True)
class Running:
    """A job that a worker has now."""

    id: UUID
    owner: str
    model: str
    worker: str
    seconds: float
    progress: float


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker. `lease_seconds` are left of its lease, less than none of one that is gone."""

    id: int
    name: str
    version: str
    draining: bool
    started_at: datetime
    lease_seconds: float | None
    models: list[str]
    slots: int
    running: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that has failed a while ago."""

    id: UUID
    owner: str
    model: str
    finished_at: datetime
    ago_seconds: float
    error_code: str


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at everything."""

    pauses: Pauses
    models: list[Model]
    running: list[Running]
    workers: list[Worker]
    failures: list[Failure]


async def read_overview(connection: Connection, *, limit: int) -> Overview:
    """At most `limit` rows of what runs and of what failed, as of one moment."""
    async with connection.transaction():
        await connection.execute("set transaction isolation level repeatable read, read only")
        return Overview(
            pauses=await read_pauses(connection),
            models=await read_models(connection),
            running=await _running(connection, limit),
            workers=await read_workers(connection),
            failures=await _failures(connection, limit),
        )


async def read_models(connection: Connection) -> list[Model]:
    async with connection.cursor(row_factory=class_row(Model)) as cursor:
        await cursor.execute(MODELS, {"most": MOST_COUNTED})
        return await cursor.fetchall()


async def read_workers(connection: Connection) -> list[Worker]:
    async with connection.cursor(row_factory=class_row(Worker)) as cursor:
        await cursor.execute(WORKERS)
        return await cursor.fetchall()


async def _running(connection: Connection, limit: int) -> list[Running]:
    async with connection.cursor(row_factory=class_row(Running)) as cursor:
        await cursor.execute(RUNNING, {"limit": limit})
        return await cursor.fetchall()


async def _failures(connection: Connection, limit: int) -> list[Failure]:
    async with connection.cursor(row_factory=class_row(Failure)) as cursor:
        await cursor.execute(FAILURES, {"seconds": RECENT_SECONDS, "limit": limit})
        return await cursor.fetchall()
