"""The queue's statements on jobs: claim, finish, fail, back off, release, partial text. One statement each.

Knows no policy: who claims what and when is the worker's. Every write carries (job, epoch) and changes
nothing if the epoch has moved on or nobody owns the job any more.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[Any] | PoolConnectionProxy[Any]"  # generic for checkers only

LOWEST_TAG = -(2**63)
HEAD_START = 8192  # private.head_start(): how far below the clock a priority can put a tag
# Two claims at the same moment may set a model's clock a little back: eight steps more.
FLOOR_MARGIN = 2 * HEAD_START

# $1 worker, $2 incarnation, $3 models, $4 free slots and $5 floor of each, $6 seconds until the deadline.
# - The fences (materialized, limit inside, ids as an array) keep the limit whatever plan is chosen.
# - FOR KEY SHARE on the worker's row: a rescue passes by a worker whose claim is in flight.
# - LATERAL with LIMIT 1 keeps the join to request a keyed probe; a plain join, planned on an empty table,
#   reads it all.
CLAIM: LiteralString = """
with me as materialized (
  select w.id, w.incarnation from private.worker w
   where w.id = $1 and w.incarnation = $2 and w.lease_until > clock_timestamp() and not w.draining
     for key share),
want as materialized (
  select m.id as model_id, m.clock, w.floor,
         (select count(*) from (select from private.slot s
           where s.worker_id = me.id and s.incarnation = me.incarnation and s.model_id = m.id
           limit w.free) x) as free
    from me cross join unnest($3::int[], $4::int[], $5::bigint[]) w(model_id, free, floor)
    join private.model m on m.id = w.model_id and m.paused_at is null
    join private.queue q on q.only_row and q.paused_at is null),
pick as materialized (
  select p.id, p.ready_at from want w cross join lateral (
    select j.id, j.updated_at as ready_at from private.job j
     where j.state = 'ready' and j.run_at is null and j.model_id = w.model_id and j.tag >= w.floor
     order by j.tag, j.id limit w.free for no key update of j skip locked) p),
took as (
  update private.job j
     set state = 'running', epoch = j.epoch + 1, attempts = j.attempts + 1, worker_id = $1, progress = 0,
         claimed_at = clock_timestamp(), updated_at = clock_timestamp(),
         started_at = coalesce(j.started_at, clock_timestamp()), error_code = null, error_message = null,
         deadline_at = clock_timestamp() + make_interval(secs => $6)
   where j.id = any (array(select id from pick))
  returning j.id, j.epoch, j.attempts, j.model_id, j.request_id, j.claimed_at - j.started_at as tried_for,
            j.tag + j.priority * private.head_start() as reached),
clock as materialized (
  select setval(w.clock, t.reached)
    from (select model_id, max(reached) as reached from took group by model_id) t
    join want w on w.model_id = t.model_id where t.reached > coalesce(pg_sequence_last_value(w.clock), 0))
select t.id as job_id, t.epoch, t.attempts, t.model_id, t.reached,
       extract(epoch from clock_timestamp() - p.ready_at)::float8 as waited_seconds,
       greatest(extract(epoch from t.tried_for), 0)::float8 as tried_seconds, r.*,
       (select count(*) from clock) as clocks_moved  -- asked for, or they would not move
  from took t join pick p on p.id = t.id
 cross join lateral (
   select r.id as request_id, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style,
          r.language
     from private.request r where r.id = t.request_id limit 1) r
"""

# The same, but passing by the jobs of owners whose event cursor somebody holds: their own long transaction
# must not keep everybody else's jobs waiting.
CLAIM_AROUND: LiteralString = CLAIM.replace(
    "from private.job j\n     where j.state = 'ready'",
    "from private.job j\n     cross join lateral (select from private.event_cursor c where c.owner = j.owner"
    " for no key update skip locked) c\n     where j.state = 'ready'",
)

# $1 jobs, $2 epochs, $3 bodies, $4 checks, $5 engines. No `state = 'running'` in it: that would invite the
# partial index and a quadratic plan. A finish that was accepted before, its answer lost on the way, is
# accepted again.
FINISH: LiteralString = """
with own as materialized (
  select f.job_id, f.epoch, f.body, f.checks, f.engine, x.request_id, x.owner
    from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])
           f(job_id, epoch, body, checks, engine)
   cross join lateral (select j.request_id, j.owner from private.job j
                        where j.id = f.job_id and j.epoch = f.epoch and j.worker_id is not null
                          for no key update) x),
done as (
  update private.job j
     set state = 'done', worker_id = null, deadline_at = null, progress = 1,
         updated_at = clock_timestamp(), finished_at = clock_timestamp()
   where j.id = any (array(select job_id from own)) returning j.id),
stored as (
  insert into private.result (request_id, owner, epoch, body, checks, engine)
  select request_id, owner, epoch, body, checks::jsonb, engine::jsonb from own returning request_id),
cleared as (
  delete from private.partial p where p.request_id = any (array(select request_id from own)))
select f.job_id from unnest($1::bigint[], $2::bigint[]) f(job_id, epoch)
 where f.job_id in (select id from done)
    or exists (select from private.job j
                 join private.result r on r.request_id = j.request_id and r.epoch = f.epoch
                where j.id = f.job_id and j.state = 'done')
"""

# $1 job, $2 epoch, $3 code, $4 message.
FAIL: LiteralString = """
with own as materialized (
  select j.id, j.request_id from private.job j
   where j.id = $1 and j.epoch = $2 and j.worker_id is not null for no key update),
cleared as (
  delete from private.partial p where p.request_id = any (array(select request_id from own)))
update private.job j
   set state = 'failed', worker_id = null, deadline_at = null, error_code = $3, error_message = $4,
       updated_at = clock_timestamp(), finished_at = clock_timestamp()
 where j.id = any (array(select id from own)) returning j.id
"""

# $1 job, $2 epoch, $3 seconds to wait, $4 attempts not to be counted, $5 code, $6 message. The sweeper makes
# it ready again.
BACK_OFF: LiteralString = """
with own as materialized (
  select j.id from private.job j
   where j.id = $1 and j.epoch = $2 and j.worker_id is not null for no key update)
update private.job j
   set state = 'ready', worker_id = null, deadline_at = null, progress = 0,
       attempts = greatest(j.attempts - $4, 0), error_code = $5, error_message = $6,
       run_at = clock_timestamp() + make_interval(secs => $3), updated_at = clock_timestamp()
 where j.id = any (array(select id from own)) returning j.id
"""

# $1 jobs, $2 epochs. Handed back through no fault of theirs: at the front (the clock itself), not counted.
RELEASE: LiteralString = """
with own as materialized (
  select f.job_id, x.clock_now from unnest($1::bigint[], $2::bigint[]) f(job_id, epoch)
   cross join lateral (select coalesce(pg_sequence_last_value(m.clock), 0) as clock_now
                         from private.job j join private.model m on m.id = j.model_id
                        where j.id = f.job_id and j.epoch = f.epoch and j.worker_id is not null
                          for no key update of j) x),
back as (
  update private.job j
     set state = 'ready', worker_id = null, deadline_at = null, progress = 0,
         attempts = greatest(j.attempts - 1, 0),
         tag = o.clock_now - j.priority * private.head_start(), updated_at = clock_timestamp()
    from own o where j.id = o.job_id returning j.id)
select b.id as job_id, (select private.ring() from back limit 1) from back b
"""

# $1 jobs, $2 epochs, $3 numbers, $4 texts, $5 jobs, $6 epochs, $7 progress of these. A preview: not waiting
# for the disk, and told only to owners who watch. Payloads stay below the 8,000 bytes that NOTIFY takes.
WRITE_PARTIALS: LiteralString = """
with soft as materialized (select set_config('synchronous_commit', 'off', true) as setting),
own as materialized (
  select x.request_id, x.owner, p.epoch, p.n, p.text
    from soft cross join unnest($1::bigint[], $2::bigint[], $3::int[], $4::text[]) p(job_id, epoch, n, text)
   cross join lateral (select j.request_id, j.owner from private.job j
                        where j.id = p.job_id and j.epoch = p.epoch and j.worker_id is not null limit 1) x),
written as (
  insert into private.partial (request_id, epoch, n, owner, text)
  select request_id, epoch, n, owner, text from own on conflict do nothing returning request_id),
moved as (
  update private.job j set progress = p.progress
    from unnest($5::bigint[], $6::bigint[], $7::real[]) p(job_id, epoch, progress)
   where j.id = p.job_id and j.epoch = p.epoch and j.worker_id is not null returning j.id),
heard as materialized (
  select o.owner || ':' || o.request_id || ':' || o.epoch || ':' || max(o.n) as line,
         row_number() over () / 50 as part
    from own o join private.event_cursor c on c.owner = o.owner and c.watched_until > clock_timestamp()
   group by o.owner, o.request_id, o.epoch)
select (select count(*) from written) as pieces,
       (select count(pg_notify('precis_partial', t.lines))
          from (select string_agg(h.line, ',') as lines from heard h group by h.part) t) as notices
"""


@dataclass(frozen=True, slots=True)
class Claimant:
    """A worker and its incarnation: who claims, and what a rescue invalidates."""

    worker_id: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Want:
    """So many jobs of a model, none with a tag below the floor."""

    model_id: int
    free: int
    floor: int = LOWEST_TAG


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is now ours under `epoch`, with its request. `reached` is where it moved the clock;
    `tried_seconds` have gone by since its first claim."""

    job_id: int
    epoch: int
    attempts: int
    model_id: int
    reached: int
    waited_seconds: float
    tried_seconds: float
    request_id: UUID
    task: str
    text: str | None
    document_id: UUID | None
    url: str | None
    target_words: int | None
    target_ratio: float | None
    style: str
    language: str | None


@dataclass(frozen=True, slots=True)
class Piece:
    """The n-th piece of a job's text so far."""

    job_id: int
    epoch: int
    n: int
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, between 0 and 1."""

    job_id: int
    epoch: int
    share: float


async def claim(
    connection: Connection,
    claimant: Claimant,
    wants: Sequence[Want],
    *,
    deadline_seconds: float,
    around: bool = False,
) -> list[Claimed]:
    """Take up to `free` ready jobs of each wanted model, in fair order, or only `around` owners' locks.

    An empty list also for a claimant whose lease has ended.
    """
    rows = await connection.fetch(
        CLAIM_AROUND if around else CLAIM,
        claimant.worker_id,
        claimant.incarnation,
        [want.model_id for want in wants],
        [want.free for want in wants],
        [want.floor for want in wants],
        deadline_seconds,
    )
    return [Claimed(**{name: value for name, value in row.items() if name != "clocks_moved"}) for row in rows]


async def finish(
    connection: Connection, job_id: int, epoch: int, *, body: str, checks: Any, engine: Any
) -> bool:
    """Store the result and end the job; whether it was accepted, now or before."""
    arguments = [job_id], [epoch], [body], [json.dumps(checks)], [json.dumps(engine)]
    # The first sending may still be in flight when this one, the second, begins: it waits for that one, but
    # does not see in its snapshot how it ended. Asked anew, it does.
    return bool(await connection.fetch(FINISH, *arguments) or await connection.fetch(FINISH, *arguments))


async def fail(connection: Connection, job_id: int, epoch: int, *, code: str, message: str) -> bool:
    """End the job for good; whether it was still ours."""
    return await connection.fetchval(FAIL, job_id, epoch, code, message) is not None


async def back_off(
    connection: Connection, job_id: int, epoch: int, *, seconds: float, counted: bool, code: str, message: str
) -> bool:
    """Queue the job again, not before `seconds` from now; whether it was still ours."""
    uncounted = int(not counted)
    return await connection.fetchval(BACK_OFF, job_id, epoch, seconds, uncounted, code, message) is not None


async def release(connection: Connection, claims: Sequence[tuple[int, int]]) -> int:
    """Hand (job, epoch)s back to the front of the queue, uncounted; how many were still ours."""
    claims = sorted(claims)
    return len(await connection.fetch(RELEASE, [job for job, _ in claims], [epoch for _, epoch in claims]))


async def write_partials(
    connection: Connection, pieces: Sequence[Piece], progress: Sequence[Progress]
) -> None:
    """Append pieces of text and note progress, of jobs that are still ours."""
    await connection.fetchrow(
        WRITE_PARTIALS,
        [piece.job_id for piece in pieces],
        [piece.epoch for piece in pieces],
        [piece.n for piece in pieces],
        [piece.text for piece in pieces],
        [step.job_id for step in progress],
        [step.epoch for step in progress],
        [step.share for step in progress],
    )
