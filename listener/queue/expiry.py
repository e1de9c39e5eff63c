"""Deletes requests that ended long ago, for good: texts, results and attempts go with them.

The statement lets one worker at a time. Knows no state but that a request has ended.
"""

from typing import LiteralString

from listener.queue.jobs import Connection

RETENTION_LOCK = 7_303  # of private's advisory locks: who deletes
BATCH = 100

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


async def expire(connection: Connection, *, keep_days: int) -> int:
    """Delete requests that ended more than so many days ago; how many. One batch."""
    return int(await connection.fetchval(EXPIRE, RETENTION_LOCK, BATCH, keep_days))
