"""Deletes requests that ended long ago, for good: texts, results and attempts go with them.

Any worker may run it; the statement lets one at a time. Knows no state but that a request has ended.
"""

import asyncio
import random
from typing import Any, LiteralString

import asyncpg
import structlog
from prometheus_client import Counter

from chassis.database import passing, told
from listener.queue.jobs import Connection

RETENTION_LOCK = 7_303  # of private's advisory locks: who deletes
BATCH = 100
LOOK_SECONDS = 60.0
# Between two batches: the owners' cursors are free again, and their claims and inserts pass.
BREATH_SECONDS = 0.2

# $1 the lock, $2 batch, $3 days. By the root jobs, in the order of job_finished_at_idx. A job that somebody
# holds may just be tried again: a later look finds it, or not. What hangs on the request goes by a foreign
# key or a trigger, and the triggers tell the owners. now(), not clock_timestamp(): only what does not change
# within a statement bounds an index scan. And not `kind = 'root'`: that invites another partial index, and a
# plan that reads all of it.
EXPIRE: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
old as materialized (
  select x.request_id from turn cross join lateral (
    select j.request_id from private.job j
     where turn.mine and j.kind <> 'chunk' and j.finished_at < now() - make_interval(days => $3)
     order by j.finished_at limit $2 for no key update of j skip locked) x),
gone as (
  delete from private.request r where r.id = any (array(select request_id from old)) returning r.id)
select count(*)::int from gone
"""

EXPIRED = Counter("precis_expired_requests_total", "Finished requests that were deleted for their age.")

log = structlog.get_logger()


class Retention:
    """`run` for ever. Without it, requests are kept for ever."""

    def __init__(self, pool: "asyncpg.Pool[Any]", *, keep_days: int) -> None:
        self._pool = pool
        self._keep_days = keep_days

    async def run(self) -> None:
        """Look once a minute; while there is much to delete, batch after batch."""
        while True:
            full = await self._sweep()
            await asyncio.sleep(BREATH_SECONDS if full else LOOK_SECONDS * random.uniform(1, 1.2))  # noqa: S311

    async def _sweep(self) -> bool:
        """Whether there may be more."""
        try:
            async with self._pool.acquire() as connection:
                expired = await expire(connection, keep_days=self._keep_days)
        except Exception as error:
            if not passing(error):
                raise
            log.warning("retention.failed", error=told(error))
            return False
        EXPIRED.inc(expired)
        if expired:
            log.info("requests.expired", count=expired)
        return expired >= BATCH


async def expire(connection: Connection, *, keep_days: int) -> int:
    """Delete requests that ended more than so many days ago; how many. One batch."""
    return int(await connection.fetchval(EXPIRE, RETENTION_LOCK, BATCH, keep_days))
