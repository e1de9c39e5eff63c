"""How deep the queue is and how old.

Every count walks an index and ends at a cap: what it costs does not grow with the queue. It is of the whole
database, so all workers tell the same.
"""

from dataclasses import dataclass
from typing import LiteralString

from listener.queue.jobs import Connection

MOST_READY = 100_000  # counted in the index alone: some 50 ms for each model with such a queue
MOST_OTHERS = 10_000  # these must be looked up in the table for their model

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


async def count(connection: Connection) -> list[Depth]:
    """The queue of each model."""
    return [Depth(**row) for row in await connection.fetch(COUNT, MOST_READY, MOST_OTHERS)]


async def count_rings(connection: Connection) -> tuple[int, bool]:
    """How often the doorbell was rung so far, and whether the whole queue is paused."""
    row = await connection.fetchrow(COUNT_RINGS)
    assert row is not None
    return row["rings"], row["paused"]
