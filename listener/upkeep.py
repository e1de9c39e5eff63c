"""The queue's statements that look after all workers' jobs: rescue, overdue, due, old text. One each.

Run by any worker; a transaction-level try-lock lets one at a time do it. Knows no schedule.
"""

from dataclasses import dataclass
from typing import LiteralString

from listener.queue import FLOOR_MARGIN, Connection

SWEEP_LOCK = 7_301  # of private's advisory locks: who sweeps
ALIVE_LOCK = 7_302  # class of the session locks that tell a living worker: (ALIVE_LOCK, worker)
LEASE_SECONDS = 15
# A worker renews every 2 s. Without its session lock and with a renewal missed so long, its process is gone.
VANISHED_SECONDS = 5
BATCH = 100
WORKER_LOST = "The worker died each time it ran this request. Try it again, or with a shorter text."
DEADLINE_EXCEEDED = (
    "The model did not come to an end in time, several times. Try a shorter text or another model."
)

# $1 the sweepers' lock, $2 batch, $3 max attempts, $4 a lease's seconds, $5 silence of a process that is
# gone, $6 class of the workers' locks, $7 what is told.
# Lease age counts from the server's start at the earliest: after a restart nobody could renew. A first crash
# is made up for at once; whoever crashes its worker again waits longer each time. A worker is fenced first,
# which ends its hold on slots, and buried by a later run: only that one's snapshot is sure to show a claim
# that was committed as this one began. Later means that its snapshot shows the fence: `gone` may lock a row
# that was fenced since, and `buried` looks again. Its row is also where the log of attempts finds its name.
RESCUE: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
gone as materialized (
  select w.id, w.lease_until = '-infinity' as fenced from private.worker w, turn
   where turn.mine and clock_timestamp() > pg_postmaster_start_time() + make_interval(secs => $4)
     and case when w.lease_until < clock_timestamp() then true
              when w.lease_until < clock_timestamp() + make_interval(secs => $4 - $5)
                then pg_try_advisory_xact_lock($6, w.id)
              else false end
   order by w.id limit 10 for update of w skip locked),
lost as materialized (
  select x.id, x.over from gone g cross join lateral (
    select j.id, j.attempts >= $3 as over from private.job j where j.worker_id = g.id and j.state = 'running'
     order by j.id limit $2 for no key update skip locked) x),
back as (
  update private.job j
     set state = case when l.over then 'failed' else 'ready' end, worker_id = null, deadline_at = null,
         progress = 0, tag = private.requeue_tag(j.model_id, j.priority), updated_at = clock_timestamp(),
         run_at = case when not l.over and j.attempts > 1
                       then clock_timestamp() + random() * least(60, 2 ^ j.attempts) * interval '1 s' end,
         finished_at = case when l.over then clock_timestamp() end,
         error_code = 'worker_lost', error_message = $7
    from lost l where j.id = l.id returning j.id, j.state, j.run_at),
fenced as (
  update private.worker w set lease_until = '-infinity', incarnation = w.incarnation + 1
    from gone g where w.id = g.id and not g.fenced returning w.id),
buried as (
  delete from private.worker w using gone g
   where w.id = g.id and g.fenced
     and exists (select from private.worker seen where seen.id = g.id and seen.lease_until = '-infinity')
     and not exists (select from private.job j where j.worker_id = g.id and j.state = 'running')
  returning w.id)
select (select count(*) from back where state = 'ready')::int as requeued,
       (select count(*) from back where state = 'failed')::int as failed,
       array(select id from fenced) as fenced, array(select id from buried) as buried,
       (select private.ring() from back where state = 'ready' and run_at is null limit 1),
       (select pg_notify('precis_control', 'models') from fenced limit 1)
"""

# $1 the sweepers' lock, $2 batch, $3 max attempts, $4 what is told. The worker lives, but the job is stuck in
# it past its deadline.
REQUEUE_OVERDUE: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
hung as materialized (
  select j.id, j.request_id, j.attempts >= $3 as over from private.job j, turn
   where turn.mine and j.state = 'running' and j.deadline_at < clock_timestamp()
   order by j.deadline_at limit $2 for no key update of j skip locked),
back as (
  update private.job j
     set state = case when h.over then 'failed' else 'ready' end, worker_id = null, deadline_at = null,
         progress = 0, tag = private.requeue_tag(j.model_id, j.priority), updated_at = clock_timestamp(),
         finished_at = case when h.over then clock_timestamp() end,
         error_code = 'deadline_exceeded', error_message = $4
    from hung h where j.id = h.id returning j.id, j.state)
select (select count(*) from back where state = 'ready')::int as requeued,
       (select count(*) from back where state = 'failed')::int as failed,
       (select private.ring() from back where state = 'ready' limit 1),
       (select count(pg_notify('precis_control', h.request_id::text)) from hung h)
"""

# $1 the sweepers' lock, $2 batch. fair_tag sees the rows that this very statement has tagged, so that an
# owner's thousand rows that fall due together stand one step behind each other like a thousand inserted.
READY_DUE: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
due as materialized (
  select j.id from private.job j, turn
   where turn.mine and j.state = 'ready' and j.run_at is not null and j.run_at <= clock_timestamp()
   order by j.run_at limit $2 for no key update of j skip locked),
moved as (
  update private.job j
     set run_at = null, tag = private.fair_tag(j.owner, j.model_id, j.priority),
         updated_at = clock_timestamp()
   where j.id = any (array(select id from due)) returning j.id)
select count(*)::int, (select private.ring() from moved limit 1) from moved
"""

# $1 the sweepers' lock, $2 batch, $3 how far below its model's clock. Claims do not look so far down: such a
# job's transaction was open while the clock went on, or somebody held its owner. To the front with it.
LIFT: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
low as materialized (
  select x.id, c.clock_now from turn cross join private.model m
   cross join lateral (select coalesce(pg_sequence_last_value(m.clock), 0) as clock_now) c
   cross join lateral (
    select j.id from private.job j
     where turn.mine and j.state = 'ready' and j.run_at is null and j.model_id = m.id
       and j.tag < c.clock_now - $3::bigint
     order by j.tag, j.id limit $2 for no key update of j skip locked) x),
lifted as (
  update private.job j set tag = l.clock_now - j.priority * private.head_start()
    from low l where j.id = l.id returning j.id)
select count(*)::int, (select private.ring() from lifted limit 1) from lifted
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
    buried: tuple[int, ...] = ()


async def rescue(connection: Connection, *, max_attempts: int) -> Rescued:
    """Take back the jobs of workers whose lease ended, or whose process visibly died. One batch."""
    row = await connection.fetchrow(
        RESCUE, SWEEP_LOCK, BATCH, max_attempts, LEASE_SECONDS, VANISHED_SECONDS, ALIVE_LOCK, WORKER_LOST
    )
    assert row is not None
    return Rescued(row["requeued"], row["failed"], tuple(row["fenced"]), tuple(row["buried"]))


async def requeue_overdue(connection: Connection, *, max_attempts: int) -> Rescued:
    """Take back the jobs that run past their deadline. One batch."""
    row = await connection.fetchrow(REQUEUE_OVERDUE, SWEEP_LOCK, BATCH, max_attempts, DEADLINE_EXCEEDED)
    assert row is not None
    return Rescued(row["requeued"], row["failed"])


async def ready_due(connection: Connection) -> int:
    """Make jobs ready whose time has come; how many. One batch."""
    return int(await connection.fetchval(READY_DUE, SWEEP_LOCK, BATCH))


async def lift(connection: Connection) -> int:
    """Bring jobs that lie below where claims look to the front; how many. One batch."""
    return int(await connection.fetchval(LIFT, SWEEP_LOCK, BATCH, FLOOR_MARGIN))


async def prune_partials(connection: Connection) -> None:
    """Forget partial text of claims that have ended."""
    await connection.execute(PRUNE_PARTIALS)
