"""How deep the queue is and how old, counted when somebody asks for the metrics and not more often.

Every count walks an index and ends at a cap: what it costs does not grow with the queue. It is of the whole
database, so all workers tell the same.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import asyncpg
from prometheus_client import Counter, Gauge

from listener.queue.jobs import Connection

MOST_READY = 100_000  # counted in the index alone: some 50 ms for each model with such a queue
MOST_OTHERS = 10_000  # these must be looked up in the table for their model
FRESH_SECONDS = 5.0  # two scrapers, or an impatient one, cost no more than one

# $1 the most ready jobs of a model, $2 the most others. Of those that have ended, the newest of the last day.
# now(), not clock_timestamp(): only what does not change within a statement bounds an index scan.
COUNT: LiteralString = """
with scheduled as materialized (
  select x.model_id, count(*) as jobs
    from (select j.model_id from private.job j where j.state = 'ready' and j.run_at is not null
           order by j.run_at limit $2) x group by x.model_id),
running as materialized (
  select x.model_id, count(*) as jobs
    from (select j.model_id from private.job j where j.state = 'running' order by j.worker_id limit $2) x
   group by x.model_id),
ended as materialized (
  select x.model_id, count(*) filter (where x.state = 'done') as done,
         count(*) filter (where x.state = 'failed') as failed,
         count(*) filter (where x.state = 'cancelled') as cancelled
    from (select j.model_id, j.state from private.job j
           where j.finished_at > now() - interval '1 day' order by j.finished_at desc limit $2) x
   group by x.model_id)
select m.name as model,
       (select count(*) from (select from private.job j
         where j.state = 'ready' and j.run_at is null and j.model_id = m.id
         order by j.tag, j.id limit $1) x)::int as ready,
       coalesce((select s.jobs from scheduled s where s.model_id = m.id), 0)::int as scheduled,
       coalesce((select r.jobs from running r where r.model_id = m.id), 0)::int as running,
       coalesce(e.done, 0)::int as done, coalesce(e.failed, 0)::int as failed,
       coalesce(e.cancelled, 0)::int as cancelled,
       coalesce((select extract(epoch from clock_timestamp() - j.updated_at) from private.job j
                  where j.state = 'ready' and j.run_at is null and j.model_id = m.id
                  order by j.tag, j.id limit 1), 0)::float8 as next_age_seconds,
       m.paused_at is not null as paused
  from private.model m left join ended e on e.model_id = m.id
"""

# No parameter.
COUNT_RINGS: LiteralString = """
select coalesce(pg_sequence_last_value('private.rings'), 0)::bigint as rings,
       q.paused_at is not null as paused
  from private.queue q where q.only_row
"""

JOBS = Gauge(
    "precis_queue_jobs", "Jobs by state; those that have ended, in the last day.", ["model", "state"]
)
NEXT_AGE = Gauge("precis_queue_next_age_seconds", "How long the job that is next has been ready.", ["model"])
PAUSED = Gauge("precis_queue_paused", "1 while the whole queue is paused.")
MODEL_PAUSED = Gauge("precis_model_paused", "1 while the model is paused by itself.", ["model"])
RINGS_SENT = Counter("precis_rings_sent_total", "Times the doorbell was rung, by whomever.")
READ_AT = Gauge("precis_queue_read_timestamp_seconds", "When these figures of the queue were read.")


@dataclass(frozen=True, slots=True)
class Depth:
    """A model's jobs by state, and how long the next one has been ready."""

    model: str
    ready: int
    scheduled: int
    running: int
    done: int
    failed: int
    cancelled: int
    next_age_seconds: float
    paused: bool


STATES = ("ready", "scheduled", "running", "done", "failed", "cancelled")


class Census:
    """`read` before the metrics are told."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool
        self._turn = asyncio.Lock()
        self._read_at = float("-inf")
        self._rings = 0

    async def read(self) -> None:
        """Set the gauges by the database, if they are not fresh. Raises what the database raises: then they
        stay as they were, and their age tells."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now - self._read_at < FRESH_SECONDS:
                return
            async with self._pool.acquire() as connection:
                depths, (rings, paused) = await count(connection), await count_rings(connection)
            self._read_at = now
        _show(depths)
        PAUSED.set(paused)
        RINGS_SENT.inc(max(0, rings - self._rings))
        self._rings = rings
        READ_AT.set_to_current_time()


async def count(connection: Connection) -> list[Depth]:
    """The queue of each model."""
    return [Depth(**row) for row in await connection.fetch(COUNT, MOST_READY, MOST_OTHERS)]


async def count_rings(connection: Connection) -> tuple[int, bool]:
    """How often the doorbell was rung so far, and whether the whole queue is paused."""
    row = await connection.fetchrow(COUNT_RINGS)
    assert row is not None
    return row["rings"], row["paused"]


def _show(depths: Sequence[Depth]) -> None:
    for gauge in (JOBS, NEXT_AGE, MODEL_PAUSED):
        gauge.clear()  # a model that is gone has no figures
    for depth in depths:
        for state in STATES:
            JOBS.labels(depth.model, state).set(getattr(depth, state))
        NEXT_AGE.labels(depth.model).set(depth.next_age_seconds)
        MODEL_PAUSED.labels(depth.model).set(depth.paused)
