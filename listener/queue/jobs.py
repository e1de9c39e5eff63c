"""The queue's statements on jobs: claim, finish, fail, back off, release, partial text. One statement each.

Knows no policy: who claims what and when is the worker's. Every write names a claim (job, epoch, worker) and
changes nothing if the epoch has moved on or the job is not that worker's any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, NamedTuple, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[Any] | PoolConnectionProxy[Any]"  # generic for checkers only

LOWEST_TAG = -(2**62)  # its negative is a bigint as well
# Two claims at the same moment may set a model's clock a little back: some steps of 1024.
FLOOR_MARGIN = 8 * 1024

# $1 worker, $2 incarnation, $3 models, $4 free slots and $5 floor of each, $6 seconds until the deadline.
# - Not waiting for the disk: a claim that a crash of the database forgets was none. The job is ready
#   again, and whoever had it is told that it is lost. The next claim draws another epoch: the crash has taken
#   the incarnation, without which there is no claim, and the next one begins above whatever was drawn before.
# - The fences (materialized, limit inside) keep the limit whatever plan is chosen; a row is found again by
#   where it lies, since it is locked, so that no plan can come to read the whole table for it.
# - `turn` are the lowest tags, with the rows that bear them. Whose turn it is takes it, unless a row of the
#   same owner may rank before it, by priority or since it has been begun before: `uneven`, a look at an index
#   that is all but empty. Then private.deal_turns says who takes the turns. So a rank decides which of an
#   owner's rows is next, and never when.
# - The clock goes to the turn that was reached. Who took a turn below it has missed some: they were locked,
#   or not yet committed. They have had as many at once as slots were free; the others go behind their last.
# - As few nodes as can be: what the executor sets up for each of them is most of what a claim costs.
# - FOR KEY SHARE on the worker's row: a rescue passes by a worker whose claim is in flight.
# - LATERAL with LIMIT 1 keeps the join to request a keyed probe; a plain join, planned on an empty table,
#   reads it all.
CLAIM_ROWS: LiteralString = """
with me as materialized (
  select w.id, w.incarnation, e.epoch_floor
    from private.worker w join private.event_incarnation e on e.only_row
   where w.id = $1 and w.incarnation = $2 and not w.draining
     and not exists (select from private.queue q where q.paused_at is not null)
     and set_config('synchronous_commit', 'off', true) = 'off'
     for key share of w),
turn as materialized (
  select p.*, m.clock, c.clock_then
    from me cross join unnest($3::int[], $4::int[], $5::bigint[]) w(model_id, free, floor)
    join private.model m on m.id = w.model_id and m.paused_at is null
   cross join lateral (select coalesce(pg_sequence_last_value(m.clock), 0) as clock_then) c
   cross join lateral (
    select j.ctid as at, j.id, j.owner, j.model_id, j.tag, j.rank, j.request_id,
           j.updated_at as ready_at
      from private.job j
"""
CLAIM_TURNS: LiteralString = """
     where j.state = 'ready' and j.run_at is null and j.model_id = w.model_id and j.tag >= w.floor
     order by j.tag, j.id
     limit least(w.free, (select count(*) from private.slot s where s.worker_id = me.id
                             and s.incarnation = me.incarnation and s.model_id = w.model_id))
       for no key update of j skip locked) p),
uneven as materialized (
  select exists (select from turn t where t.rank < 0)
      or exists (select from private.job j where j.model_id = any ($3::int[]) and j.rank > 0
                                             and j.state = 'ready' and j.run_at is null) as yes),
dealt as materialized (
  select t.at, t.id, t.request_id, t.ready_at, t.tag as reached from turn t where not (select yes from uneven)
  union all
  select d.at, d.id, d.request_id, d.ready_at, d.reached
    from private.deal_turns(array(select t.id from turn t)) d where (select yes from uneven))
update private.job j
   set state = 'running',
       epoch = greatest(j.epoch + 1, (select epoch_floor from me)),
       attempts = j.attempts + 1, rank = 2 * j.priority + 1, worker_id = $1, progress = 0,
       claimed_at = clock_timestamp(), updated_at = clock_timestamp(),
       started_at = coalesce(j.started_at, clock_timestamp()), error_code = null, error_message = null,
       deadline_at = clock_timestamp() + make_interval(secs => $6)
  from dealt d
 cross join lateral (
   select r.id as request_id, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style,
          r.language, r.owner
     from private.request r where r.id = d.request_id limit 1) r
 where j.ctid = d.at
   and (select count(case when t.tag > coalesce(pg_sequence_last_value(t.clock), 0)
                          then setval(t.clock, t.tag) end)
             + case when bool_or(t.tag < t.clock_then) then private.chain_missed(
                 array_agg(t.owner), array_agg(t.model_id),
                 array_agg(case when t.tag < t.clock_then then t.tag end), array(select d.id from dealt d))
               else 0 end
          from turn t) >= 0
returning j.id as job_id, j.epoch, j.worker_id, j.attempts, j.model_id, d.reached,
          date_part('epoch', j.claimed_at - d.ready_at) as waited_seconds,
          date_part('epoch', greatest(j.claimed_at - j.started_at, interval '0')) as tried_seconds,
          r.*
"""
CLAIM: LiteralString = CLAIM_ROWS + CLAIM_TURNS

# The same, but passing by the jobs of owners whose event cursor somebody holds: their own long transaction
# must not keep everybody else's jobs waiting.
CLAIM_AROUND: LiteralString = (
    CLAIM_ROWS
    + """
     cross join lateral (select from private.event_cursor c where c.owner = j.owner
                            for no key update skip locked) c"""
    + CLAIM_TURNS
)

# $1 jobs, $2 epochs, $3 workers, $4 bodies, $5 checks, $6 engines. By the index on id alone, in its order: no
# `state = 'running'` in it, which would invite the partial index and a quadratic plan, and no join, which
# would be planned on an empty table.
FINISH: LiteralString = """
with done as (
  update private.job j
     set state = 'done', worker_id = null, deadline_at = null, progress = 1,
         updated_at = clock_timestamp(), finished_at = clock_timestamp()
   where j.id = any ($1::bigint[]) and j.epoch = ($2::bigint[])[array_position($1::bigint[], j.id)]
     and j.worker_id = ($3::int[])[array_position($1::bigint[], j.id)]
  returning j.id, j.request_id, j.owner, j.epoch, array_position($1::bigint[], j.id) as i),
stored as (
  insert into private.result (request_id, owner, epoch, body, checks, engine)
  select request_id, owner, epoch, ($4::text[])[i], ($5::text[])[i]::jsonb, ($6::text[])[i]::jsonb from done),
cleared as (
  delete from private.partial p where p.request_id = any (array(select request_id from done)))
select d.id as job_id from done d
"""

# $1 jobs, $2 epochs, $3 workers. What has been finished so before: the answer was lost on the way.
FINISHED: LiteralString = """
select f.job_id from unnest($1::bigint[], $2::bigint[], $3::int[]) f(job_id, epoch, worker_id)
 cross join lateral (select a.worker_id, a.outcome from private.attempt a
                      where a.job_id = f.job_id and a.epoch = f.epoch limit 1) a
 where a.worker_id = f.worker_id and a.outcome = 'done'
"""

# $1 job, $2 epoch, $3 worker, $4 code, $5 message.
FAIL: LiteralString = """
with own as materialized (
  select j.id, j.request_id from private.job j
   where j.id = $1 and j.epoch = $2 and j.worker_id = $3 for no key update),
cleared as (
  delete from private.partial p where p.request_id = any (array(select request_id from own)))
update private.job j
   set state = 'failed', worker_id = null, deadline_at = null, error_code = $4, error_message = $5,
       updated_at = clock_timestamp(), finished_at = clock_timestamp()
 where j.id = any (array(select id from own)) returning j.id
"""

# $1 job, $2 epoch, $3 worker, $4 seconds to wait, $5 attempts not to be counted, $6 code, $7 message. The
# sweeper makes it ready again.
BACK_OFF: LiteralString = """
with own as materialized (
  select j.id from private.job j
   where j.id = $1 and j.epoch = $2 and j.worker_id = $3 for no key update)
update private.job j
   set state = 'ready', worker_id = null, deadline_at = null, progress = 0,
       attempts = greatest(j.attempts - $5, 0), error_code = $6, error_message = $7,
       run_at = clock_timestamp() + make_interval(secs => $4), updated_at = clock_timestamp()
 where j.id = any (array(select id from own)) returning j.id
"""

# $1 jobs, $2 epochs, $3 workers. Handed back through no fault of theirs: not counted, and begun before, so
# that each takes its owner's next turn. Not the turn that it had: a job that is taken and handed back again
# and again would pass everybody each time.
RELEASE: LiteralString = """
with own as materialized (
  select x.id from unnest($1::bigint[], $2::bigint[], $3::int[]) f(job_id, epoch, worker_id)
   cross join lateral (select j.id from private.job j
                        where j.id = f.job_id and j.epoch = f.epoch and j.worker_id = f.worker_id
                          for no key update of j) x),
back as (
  update private.job j
     set state = 'ready', worker_id = null, deadline_at = null, progress = 0,
         attempts = greatest(j.attempts - 1, 0), tag = private.fair_tag(j.owner, j.model_id),
         updated_at = clock_timestamp()
   where j.id = any (array(select id from own)) returning j.id)
select b.id as job_id, (select private.ring() from back limit 1) from back b
"""

# $1 jobs, $2 epochs, $3 workers, $4 numbers, $5 texts, $6 jobs, $7 epochs, $8 workers, $9 progress of these.
# A preview: not waiting for the disk, and told only to owners who watch. Payloads stay below the 8,000 bytes
# that NOTIFY takes.
WRITE_PARTIALS: LiteralString = """
with soft as materialized (select set_config('synchronous_commit', 'off', true) as setting),
own as materialized (
  select x.request_id, x.owner, p.epoch, p.n, p.text
    from soft cross join unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[], $5::text[])
           p(job_id, epoch, worker_id, n, text)
   cross join lateral (select j.request_id, j.owner from private.job j
                        where j.id = p.job_id and j.epoch = p.epoch and j.worker_id = p.worker_id limit 1) x),
written as (
  insert into private.partial (request_id, epoch, n, owner, text)
  select request_id, epoch, n, owner, text from own on conflict do nothing returning request_id),
moved as (
  update private.job j set progress = p.progress
    from unnest($6::bigint[], $7::bigint[], $8::int[], $9::real[]) p(job_id, epoch, worker_id, progress)
   where j.id = p.job_id and j.epoch = p.epoch and j.worker_id = p.worker_id returning j.id),
heard as materialized (
  select o.owner || ':' || o.request_id || ':' || o.epoch || ':' || max(o.n) as line,
         row_number() over () / 50 as part
    from own o join private.event_cursor c on c.owner = o.owner and c.watched_until > clock_timestamp()
   group by o.owner, o.request_id, o.epoch)
select (select count(*) from written) as pieces,
       (select count(private.tell('precis_partial', t.lines))
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


class Claim(NamedTuple):
    """What every write of a worker names: it changes nothing if the epoch has moved on, or the job is another
    worker's."""

    job_id: int
    epoch: int
    worker_id: int


class Claimed(NamedTuple):
    """A job that is now ours under `epoch`, with its request, as CLAIM tells it. `reached` is its turn,
    or its owner's last one in this claim: the clock is there at least. `tried_seconds` have gone by since the
    first."""

    job_id: int
    epoch: int
    worker_id: int
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
    owner: UUID

    @property
    def claim(self) -> Claim:
        return Claim(self.job_id, self.epoch, self.worker_id)


@dataclass(frozen=True, slots=True)
class Finished:
    """A job's result: body, and checks and engine as JSON."""

    claim: Claim
    body: str
    checks: str
    engine: str


@dataclass(frozen=True, slots=True)
class PartialText:
    """The n-th piece of a job's text so far."""

    claim: Claim
    n: int
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, between 0 and 1."""

    claim: Claim
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
    return [Claimed(**row) for row in rows]


async def finish(connection: Connection, finished: Sequence[Finished]) -> frozenset[int]:
    """Store the results and end their jobs, in order of the jobs; those that were accepted, now or before.

    What is not accepted is asked for in a statement of its own: the first sending may still be in flight when
    this one, the second, begins, which then waits for it without seeing in its snapshot how it ended.
    """
    rows = columns([(*one.claim, one.body, one.checks, one.engine) for one in finished], 6)
    accepted = await connection.fetch(FINISH, *rows)
    if len(accepted) < len(finished):
        accepted += await connection.fetch(FINISHED, *rows[:3])
    return frozenset(row["job_id"] for row in accepted)


async def fail(connection: Connection, claim: Claim, *, code: str, message: str) -> bool:
    """End the job for good; whether it was still ours."""
    return await connection.fetchval(FAIL, *claim, code, message) is not None


async def back_off(
    connection: Connection, claim: Claim, *, seconds: float, counted: bool, code: str, message: str
) -> bool:
    """Queue the job again, not before `seconds` from now; whether it was still ours."""
    return await connection.fetchval(BACK_OFF, *claim, seconds, int(not counted), code, message) is not None


async def release(connection: Connection, claims: Sequence[Claim]) -> int:
    """Hand jobs back to the front of the queue, uncounted; how many were still ours."""
    return len(await connection.fetch(RELEASE, *columns(sorted(claims), 3)))


async def write_partials(
    connection: Connection, pieces: Sequence[PartialText], progress: Sequence[Progress]
) -> None:
    """Append pieces of text and note progress, of jobs that are still ours."""
    await connection.fetchrow(
        WRITE_PARTIALS,
        *columns([(*piece.claim, piece.n, piece.text) for piece in pieces], 5),
        *columns([(*step.claim, step.share) for step in progress], 4),
    )


def columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as the arrays that unnest puts together again, also if there are none."""
    return [[row[i] for row in rows] for i in range(width)]
