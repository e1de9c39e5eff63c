"""What the queue holds, read for operators: rows, one row's whole history, dead letters. Never a text or a
result, only their lengths. Changes nothing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from precis.faults import BadUsage, RequestFailed
from precis.queue.connection import Connection

State = Literal["queued", "scheduled", "running", "done", "failed", "cancelled"]
JOB_STATES: dict[str, list[str]] = {  # others are called alike
    "queued": ["ready"],
    "scheduled": ["ready"],
    "running": ["running", "waiting"],
}
MOST_AHEAD = 10_000
SHORTEST_ID = 4  # hexadecimal digits
UUID_DIGITS = 32
SEVERAL = 5  # rows named where a short id means more than one

# Root jobs in the order in which they are shown. None of these sorts the table: each follows an index and
# stops.
NEWEST: LiteralString = """
select j.id from private.job j
 where j.kind = 'root' and (%(states)s::text[] is null or j.state = any (%(states)s))
   and (%(owner)s::uuid is null or j.owner = %(owner)s) and (%(model)s::int is null or j.model_id = %(model)s)
 order by j.id desc limit %(limit)s
"""
# As a claim would have it: turns by their tag, each for the row of its owner that ranks first.
NEXT: LiteralString = """
with turn as (
  select p.*, row_number() over (partition by p.owner, p.model_id order by p.place) as n
    from private.model m cross join lateral (
      select j.owner, j.model_id, row_number() over (order by j.tag, j.id) as place from private.job j
       where j.state = 'ready' and j.run_at is null and j.kind = 'root' and j.model_id = m.id
         and (%(owner)s::uuid is null or j.owner = %(owner)s)
       order by j.tag, j.id limit %(limit)s) p
   where %(model)s::int is null or m.id = %(model)s)
select b.id from (select t.owner, t.model_id, count(*) as turns from turn t group by t.owner, t.model_id) o
 cross join lateral (
  select j.id, row_number() over (order by j.rank desc, (-j.tag) desc, j.id) as n from private.job j
   where j.state = 'ready' and j.run_at is null and j.kind = 'root' and j.owner = o.owner
     and j.model_id = o.model_id
   order by j.rank desc, (-j.tag) desc, j.id limit o.turns) b
  join turn t on t.owner = o.owner and t.model_id = o.model_id and t.n = b.n
 order by t.place, t.model_id limit %(limit)s
"""
SCHEDULED: LiteralString = """
select j.id from private.job j
 where j.state = 'ready' and j.run_at is not null and j.kind = 'root'
   and (%(owner)s::uuid is null or j.owner = %(owner)s) and (%(model)s::int is null or j.model_id = %(model)s)
 order by j.run_at limit %(limit)s
"""
# Dead letters, the last one first. Both follow job_finished_at_idx.
DEAD: LiteralString = """
select j.id from private.job j
 where j.finished_at is not null and j.kind = 'root' and j.state = 'failed'
   and (%(seconds)s::float8 is null or j.finished_at >= now() - make_interval(secs => %(seconds)s))
   and (%(code)s::text is null or j.error_code = %(code)s)
 order by j.finished_at desc limit %(limit)s
"""
DEAD_BY_CODE: LiteralString = """
select j.error_code as code, count(*)::int as requests, count(distinct j.owner)::int as owners,
       max(j.finished_at) as last_at, (array_agg(j.error_message order by j.finished_at desc))[1] as message
  from private.job j
 where j.finished_at is not null and j.kind = 'root' and j.state = 'failed'
   and (%(seconds)s::float8 is null or j.finished_at >= now() - make_interval(secs => %(seconds)s))
   and (%(code)s::text is null or j.error_code = %(code)s)
 group by j.error_code order by count(*) desc, j.error_code
"""

ROWS: LiteralString = """
select r.id, a.email as owner, r.task, m.name as model,
       case when j.state = 'ready' and j.run_at is not null then 'scheduled'
            else gate.request_state(j.state) end as state,
       j.priority, j.attempts, j.progress, j.error_code, r.created_at, j.run_at, j.claimed_at, j.finished_at,
       extract(epoch from clock_timestamp() - r.created_at)::float8 as age_seconds,
       case when j.state = 'ready' and j.run_at is null
            then extract(epoch from clock_timestamp() - j.updated_at)::float8 end as waiting_seconds,
       case when j.state = 'ready' then extract(epoch from j.run_at - clock_timestamp())::float8
            end as due_seconds,
       case when j.state in ('running', 'waiting', 'done')
            then extract(epoch from coalesce(j.finished_at, clock_timestamp()) - j.claimed_at)::float8
            end as running_seconds
  from unnest(%(jobs)s::bigint[]) with ordinality p(job_id, place)
  join private.job j on j.id = p.job_id
  join private.request r on r.id = j.request_id
  join private.account a on a.id = j.owner
  join private.model m on m.id = j.model_id
 order by p.place
"""

ROOT: LiteralString = "select r.job_id as id from private.request r where r.id = %(id)s"

# More of the one row that is shown. How many are ahead is counted no further than makes a difference.
DETAIL: LiteralString = """
select r.title, r.style, r.language, r.target_words, r.target_ratio, r.owner as owner_id,
       case when r.text is not null then 'text' when r.url is not null then 'url'
            else 'document' end as source,
       octet_length(r.text) as text_bytes, char_length(s.body) as result_characters,
       j.epoch, j.updated_at, j.started_at, j.deadline_at, j.error_message,
       w.id as worker_id, w.name as worker,
       case when isfinite(w.lease_until) then extract(epoch from w.lease_until - clock_timestamp())::float8
            end as lease_seconds,
       case when j.state = 'ready' and j.run_at is null then (
         select count(*)::int from (
           select from private.job x
            where x.state = 'ready' and x.run_at is null and x.model_id = j.model_id
              and (x.tag, x.id) < (j.tag, j.id) limit %(most)s) ahead) end as ahead,
       (select q.paused_at from private.queue q) as queue_paused_at, m.paused_at as model_paused_at
  from private.request r
  join private.job j on j.id = r.job_id
  join private.model m on m.id = j.model_id
  left join private.worker w on w.id = j.worker_id
  left join private.result s on s.request_id = r.id
 where r.id = %(id)s
"""

# What has ended, and what is under way. `n` is the claim's epoch.
ATTEMPTS: LiteralString = """
select a.epoch::int as n, a.worker_id, coalesce(a.worker, '') as worker, a.claimed_at, a.ended_at,
       extract(epoch from a.ended_at - a.claimed_at)::float8 as seconds,
       a.outcome, a.error_code, a.error_message
  from private.attempt a where a.owner = %(owner)s and a.request_id = %(id)s
 union all
select j.epoch::int, j.worker_id, coalesce(w.name, ''), j.claimed_at, null,
       extract(epoch from clock_timestamp() - j.claimed_at)::float8, 'running', null, null
  from private.job j left join private.worker w on w.id = j.worker_id
 where j.id = any (private.jobs_of(%(id)s)) and j.state = 'running'
 order by 4, 1
"""

BETWEEN: LiteralString = """
select r.id from private.request r where r.id between %(low)s and %(high)s order by r.id limit %(limit)s
"""
# The normal form of an address is lower case, but for letters beyond ASCII before the @.
OWNER: LiteralString = """
select a.id from private.account a where a.email_key = any (%(keys)s) or a.email = %(email)s limit 1
"""
MODEL: LiteralString = """
select m.id from private.model m where m.name in (%(name)s, %(name)s || ':latest')
 order by m.name = %(name)s desc limit 1
"""
MODELS: LiteralString = "select m.name from private.model m order by m.name"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a list shows it. `waiting_seconds` since it is ready, `due_seconds` until it will be."""

    id: UUID
    owner: str
    task: str
    model: str
    state: State
    priority: int
    attempts: int
    progress: float
    error_code: str | None
    created_at: datetime
    run_at: datetime | None
    claimed_at: datetime | None
    finished_at: datetime | None
    age_seconds: float
    waiting_seconds: float | None
    due_seconds: float | None
    running_seconds: float | None


@dataclass(frozen=True, slots=True)
class Detail:
    """What a list has no room for. `ahead`: ready ones of the same model, counted up to MOST_AHEAD."""

    title: str | None
    style: str
    language: str | None
    target_words: int | None
    target_ratio: float | None
    owner_id: UUID
    source: str
    text_bytes: int | None
    result_characters: int | None
    epoch: int
    updated_at: datetime
    started_at: datetime | None
    deadline_at: datetime | None
    error_message: str | None
    worker_id: int | None
    worker: str | None
    lease_seconds: float | None
    ahead: int | None
    queue_paused_at: datetime | None
    model_paused_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One claim and what became of it; `running` if it has not ended."""

    n: int
    worker_id: int
    worker: str
    claimed_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    outcome: str
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class Dead:
    """The failed requests of one code, with the sentence of the last."""

    code: str
    requests: int
    owners: int
    last_at: datetime
    message: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: None is any."""

    limit: int | None
    state: State | None = None
    owner: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class WantedDead:
    """Which dead letters: None is any."""

    limit: int | None = None
    seconds: float | None = None
    code: str | None = None

    def parameters(self) -> dict[str, Any]:
        return {"limit": self.limit, "seconds": self.seconds, "code": self.code}


async def read_rows(connection: Connection, wanted: Wanted) -> list[Request]:
    """In claim order if they are queued, by their time if scheduled, else the newest first."""
    orders: dict[State | None, LiteralString] = {"queued": NEXT, "scheduled": SCHEDULED}
    return await _rows(connection, orders.get(wanted.state, NEWEST), await parameters(connection, wanted))


async def parameters(connection: Connection, wanted: Wanted) -> dict[str, Any]:
    """Of a statement that picks jobs. Raises RequestFailed where there is no such account or model."""
    return {
        "limit": wanted.limit,
        "owner": await owner_id(connection, wanted.owner) if wanted.owner else None,
        "model": await model_id(connection, wanted.model) if wanted.model else None,
        "states": JOB_STATES.get(wanted.state, [wanted.state]) if wanted.state else None,
    }


async def read_dead(connection: Connection, wanted: WantedDead) -> tuple[list[Dead], list[Request]]:
    """The failed by their codes, and the last of them one by one."""
    async with connection.cursor(row_factory=class_row(Dead)) as cursor:
        await cursor.execute(DEAD_BY_CODE, wanted.parameters())
        by_code = await cursor.fetchall()
    return by_code, await _rows(connection, DEAD, wanted.parameters())


async def read_one(connection: Connection, request: UUID) -> tuple[Request, Detail, list[Attempt]]:
    """Everything about one row, and every attempt at it, the first one first."""
    rows = await _rows(connection, ROOT, {"id": request})
    async with connection.cursor(row_factory=class_row(Detail)) as details:
        await details.execute(DETAIL, {"id": request, "most": MOST_AHEAD})
        detail = await details.fetchone()
    if not rows or detail is None:
        raise _unknown(str(request))
    async with connection.cursor(row_factory=class_row(Attempt)) as attempts:
        await attempts.execute(ATTEMPTS, {"owner": detail.owner_id, "id": request})
        return rows[0], detail, await attempts.fetchall()


async def request_id(connection: Connection, short: str) -> UUID:
    """The id that begins so. Raises BadUsage if it is none, or of several; RequestFailed if there is none."""
    digits = short.replace("-", "").lower()
    if not SHORTEST_ID <= len(digits) <= UUID_DIGITS or set(digits) - set("0123456789abcdef"):
        raise BadUsage("bad_id", f"{short!r} is no id: give {SHORTEST_ID} or more of its first digits.")
    low, high = (UUID(digits.ljust(UUID_DIGITS, end)) for end in "0f")
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(BETWEEN, {"low": low, "high": high, "limit": SEVERAL})
        found: list[UUID] = await cursor.fetchall()
    if not found:
        raise _unknown(short)
    if len(found) > 1:
        raise BadUsage(
            "ambiguous_id", f"{short} begins several ids. Give more of it.", lines=tuple(map(str, found))
        )
    return found[0]


async def owner_id(connection: Connection, email: str) -> UUID:
    """The account of that address. Raises RequestFailed if there is none."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(OWNER, {"keys": [email, email.lower()], "email": email})
        found: UUID | None = await cursor.fetchone()
    if found is None:
        raise RequestFailed("unknown_account", f"Nobody is registered as {email}.")
    return found


async def model_id(connection: Connection, name: str) -> int:
    """The model called so, as a request would name it. Raises RequestFailed if there is none."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(MODEL, {"name": name})
        found: int | None = await cursor.fetchone()
    if found is None:
        known = ", ".join(await read_models(connection)) or "none yet"
        raise RequestFailed("unknown_model", f"No model is called {name}. Known here: {known}.")
    return found


async def read_models(connection: Connection) -> list[str]:
    """The names of all models."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(MODELS)
        return await cursor.fetchall()


async def _rows(connection: Connection, pick: LiteralString, parameters: dict[str, Any]) -> list[Request]:
    async with connection.cursor(row_factory=scalar_row) as picked:
        await picked.execute(pick, parameters)
        jobs: list[int] = await picked.fetchall()
    async with connection.cursor(row_factory=class_row(Request)) as cursor:
        await cursor.execute(ROWS, {"jobs": jobs})
        return await cursor.fetchall()


def _unknown(short: str) -> RequestFailed:
    return RequestFailed("request_not_found", f"There is no request whose id begins with {short}.")
