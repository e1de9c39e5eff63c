"""The queue's statements that look after all workers' jobs: rescue, overdue, due, old text. One each.

Run by any worker; a transaction-level try-lock lets one at a time do it. Knows no schedule and no clock but
for what is to be due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from listener.queue.jobs import FLOOR_MARGIN, Claim, Connection, columns
from listener.queue.silence import Suspect

SWEEP_LOCK = 7_301  # of private's advisory locks: who sweeps
ALIVE_LOCK = 7_302  # class of the session locks that tell a living worker: (ALIVE_LOCK, worker)
LEASE_SECONDS = 15  # of the time that people see
BATCH = 100
WORKER_LOST = "The worker died each time it ran this request. Try it again, or with a shorter text."
DEADLINE_EXCEEDED = (
    "The model did not come to an end in time, several times. Try a shorter text or another model."
)

# $1 the sweepers' lock, $2 batch, $3 max attempts, $4 suspects, $5 incarnation and $6 renewals of each, $7
# whether it was silent for a whole lease, $8 class of the workers' locks, $9 what is told.
# A suspect that has counted on since is none. No clock of the server is asked: it may jump, and after a
# restart nobody could renew. A first crash is made up for at once; whoever crashes its worker again waits
# longer each time. A worker is fenced first, which ends its hold on slots, and forgotten by a later run: only
# that one's snapshot is sure to show a claim that was committed as this one began. Later means that its
# snapshot shows the fence: `gone` may lock a row that was fenced since, and `forgotten` looks again. Its row
# is also where the log of attempts finds its name. What a claim costs, by how it ends:
#   done, failed, backed off   an attempt, but for a model server that is only busy
#   released                   none: a drain, no slot, a claim whose answer was lost, a server that was away
#   stalled, overdue           an attempt: its worker was held up, or could not get rid of it
#   rescued                    an attempt, unless the worker was leaving and only ran out of time
RESCUE: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
gone as materialized (
  select w.id, w.lease_until = '-infinity' as fenced, w.draining
    from turn cross join private.worker w
    left join unnest($4::int[], $5::bigint[], $6::bigint[], $7::boolean[])
           s(id, incarnation, renewals, lapsed)
      on s.id = w.id and s.incarnation = w.incarnation and s.renewals = w.renewals
   where turn.mine
     and case when w.lease_until = '-infinity' or s.lapsed then true
              when s.id is not null then pg_try_advisory_xact_lock($8, w.id)
              else false end
   order by w.id limit 10 for update of w skip locked),
lost as materialized (
  select x.id, x.over, g.draining from gone g cross join lateral (
    select j.id, j.attempts >= $3 and not g.draining as over from private.job j
     cross join lateral (select from private.event_cursor c where c.owner = j.owner
                            for no key update skip locked) c
     where j.worker_id = g.id and j.state = 'running'
     order by j.id limit $2 for no key update of j skip locked) x),
back as (
  update private.job j
     set state = case when l.over then 'failed' else 'ready' end, worker_id = null, deadline_at = null,
         progress = 0, updated_at = clock_timestamp(), attempts = greatest(j.attempts - l.draining::int, 0),
         tag = case when l.over or (j.attempts > 1 and not l.draining) then j.tag
                    else private.fair_tag(j.owner, j.model_id) end,
         run_at = case when not l.over and not l.draining and j.attempts > 1
                       then clock_timestamp() + random() * least(60, 2 ^ j.attempts) * interval '1 s' end,
         finished_at = case when l.over then clock_timestamp() end,
         error_code = 'worker_lost', error_message = $9
    from lost l where j.id = l.id returning j.id, j.state, j.run_at),
fenced as (
  update private.worker w set lease_until = '-infinity', incarnation = w.incarnation + 1
    from gone g where w.id = g.id and not g.fenced returning w.id),
forgotten as (
  delete from private.worker w using gone g
   where w.id = g.id and g.fenced
     and exists (select from private.worker seen where seen.id = g.id and seen.lease_until = '-infinity')
     and not exists (select from private.job j where j.worker_id = g.id and j.state = 'running')
  returning w.id)
select (select count(*) from back where state = 'ready')::int as requeued,
       (select count(*) from back where state = 'failed')::int as failed,
       array(select id from fenced) as fenced, array(select id from forgotten) as forgotten,
       (select private.ring() from back where state = 'ready' and run_at is null limit 1),
       (select private.tell('precis_control', 'models') from fenced limit 1)
"""

# $1 jobs, $2 epochs, $3 workers, $4 max attempts, $5 what is told. By the clock of the worker that has them
# and cannot get rid of them.
REQUEUE_OVERDUE: LiteralString = """
with hung as materialized (
  select x.id, x.request_id, x.over from unnest($1::bigint[], $2::bigint[], $3::int[]) h(id, epoch, worker_id)
   cross join lateral (
    select j.id, j.request_id, j.attempts >= $4 as over from private.job j
     cross join lateral (select from private.event_cursor c where c.owner = j.owner
                            for no key update skip locked) c
     where j.id = h.id and j.epoch = h.epoch and j.worker_id = h.worker_id
       for no key update of j skip locked) x),
back as (
  update private.job j
     set state = case when h.over then 'failed' else 'ready' end, worker_id = null, deadline_at = null,
         progress = 0, updated_at = clock_timestamp(),
         tag = case when h.over then j.tag else private.fair_tag(j.owner, j.model_id) end,
         finished_at = case when h.over then clock_timestamp() end,
         error_code = 'deadline_exceeded', error_message = $5
    from hung h where j.id = h.id returning j.id, j.state)
select (select count(*) from back where state = 'ready')::int as requeued,
       (select count(*) from back where state = 'failed')::int as failed,
       (select private.ring() from back where state = 'ready' limit 1)
"""

# $1 the sweepers' lock, $2 batch. fair_tag sees the rows that this very statement has tagged, so that an
# owner's thousand rows that fall due together stand one step behind each other like a thousand inserted.
READY_DUE: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
due as materialized (
  select j.id from turn cross join private.job j
   cross join lateral (select from private.event_cursor c where c.owner = j.owner
                          for no key update skip locked) c
   where turn.mine and j.state = 'ready' and j.run_at is not null and j.run_at <= clock_timestamp()
   order by j.run_at limit $2 for no key update of j skip locked),
moved as (
  update private.job j
     set run_at = null, tag = private.fair_tag(j.owner, j.model_id), updated_at = clock_timestamp()
   where j.id = any (array(select id from due)) returning j.id)
select count(*)::int, (select private.ring() from moved limit 1) from moved
"""

# $1 the sweepers' lock, $2 batch, $3 how far below its model's clock. Claims do not look so far down: such a
# job's transaction was open while the clock went on, or somebody held its owner. It has missed its turns.
LIFT: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
low as materialized (
  select x.owner, x.model_id, min(x.tag) as lowest from turn cross join private.model m
   cross join lateral (
    select j.owner, j.model_id, j.tag from private.job j
     where turn.mine and j.state = 'ready' and j.run_at is null and j.model_id = m.id
       and j.tag < coalesce(pg_sequence_last_value(m.clock), 0) - $3::bigint
     order by j.tag limit $2) x
   group by x.owner, x.model_id),
lifted as materialized (
  select private.chain_missed(array_agg(l.owner), array_agg(l.model_id), array_agg(l.lowest), '{}') as count
    from low l
   cross join lateral (select from private.event_cursor c where c.owner = l.owner
                          for no key update skip locked) c)
select coalesce(l.count, 0)::int, (select private.ring() from lifted where count > 0) from lifted l
"""

# No parameter. Left behind by a claim that ended otherwise than by finishing.
PRUNE_PARTIALS: LiteralString = """
delete from private.partial p
 where not exists (select from private.request r join private.job j on j.id = r.job_id
                    where r.id = p.request_id and j.epoch = p.epoch and j.state = 'running')
"""


@dataclass(frozen=True, slots=True)
class Rescued:
    """Jobs taken back, and the workers that were found gone, or are now forgotten."""

    requeued: int
    failed: int
    fenced: tuple[int, ...] = ()
    forgotten: tuple[int, ...] = ()


async def rescue(connection: Connection, suspects: Sequence[Suspect], *, max_attempts: int) -> Rescued:
    """Take back the jobs of those suspects that are silent still, and of who is fenced already. One batch."""
    rows = columns([tuple(suspect) for suspect in suspects], 4)
    row = await connection.fetchrow(RESCUE, SWEEP_LOCK, BATCH, max_attempts, *rows, ALIVE_LOCK, WORKER_LOST)
    assert row is not None
    return Rescued(row["requeued"], row["failed"], tuple(row["fenced"]), tuple(row["forgotten"]))


async def requeue_overdue(connection: Connection, claims: Sequence[Claim], *, max_attempts: int) -> Rescued:
    """Take back jobs that have run past their deadline, of those that are still theirs."""
    rows = columns(sorted(claims), 3)
    row = await connection.fetchrow(REQUEUE_OVERDUE, *rows, max_attempts, DEADLINE_EXCEEDED)
    assert row is not None
    return Rescued(row["requeued"], row["failed"])


async def ready_due(connection: Connection) -> int:
    """Make jobs ready whose time has come; how many. One batch."""
    return int(await connection.fetchval(READY_DUE, SWEEP_LOCK, BATCH))


async def lift(connection: Connection) -> int:
    """Put jobs that lie below where claims look behind their owner's last; how many.

    The owners of one batch, with all of theirs that have missed their turns.
    """
    return int(await connection.fetchval(LIFT, SWEEP_LOCK, BATCH, FLOOR_MARGIN))


async def prune_partials(connection: Connection) -> None:
    """Forget partial text of claims that have ended."""
    await connection.execute(PRUNE_PARTIALS)
