"""Prunes the event log and used-up tickets. A client that resumes from before that is told to re-read."""

from typing import Final

from chassis.database import Pool
from listener.events import tickets

PRUNE_SECONDS: Final = 60.0
KEPT_DAYS: Final = 7
BATCH_EVENTS: Final = 2_000

# Several processes may try: one at a time does it. The cursors are locked in owner order, as by the triggers.
PRUNE_EVENTS: Final = """
with turn as materialized (
  select pg_try_advisory_xact_lock(hashtext('precis.prune_events')) as mine
), old as materialized (
  select e.owner, e.n from private.event e
   where (select mine from turn) and e.at < now() - make_interval(days => $1) order by e.at limit $2
), gone as (
  delete from private.event e using old where e.owner = old.owner and e.n = old.n returning e.owner, e.n
), last as (
  select owner, max(n) as n from gone group by owner
), locked as materialized (
  select c.owner, last.n from private.event_cursor c join last on last.owner = c.owner
   order by c.owner for no key update of c
), told as (
  update private.event_cursor c set min_n = greatest(c.min_n, locked.n)
    from locked where c.owner = locked.owner
)
select count(*) from gone
"""


async def prune(pool: Pool) -> None:
    """Delete, batch by batch, what is older than the promised days."""
    while await pool.fetchval(PRUNE_EVENTS, KEPT_DAYS, BATCH_EVENTS) == BATCH_EVENTS:
        pass
    await tickets.prune(pool)
