"""What an operator does to the queue: cancel, retry, redrive dead letters, pause, resume, drain. The work is
done by functions of the database; this module calls them, one row a statement."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from precis.faults import BadUsage, Fault, RequestFailed
from precis.queue.connection import Connection, explained
from precis.queue.requests import Wanted, WantedDead, model_id, parameters, request_id

OpenState = Literal["queued", "scheduled", "running"]

BATCH = 200

CANCEL: LiteralString = "select private.cancel(%(id)s)"
RETRY: LiteralString = "select private.retry(%(id)s)"
PAUSE: LiteralString = "select private.pause(%(model)s)"
RESUME: LiteralString = "select private.resume(%(model)s)"
DRAIN: LiteralString = "select private.drain(%(worker)s, %(on)s)"
MODEL_NAME: LiteralString = "select m.name from private.model m where m.id = %(id)s"
NOW: LiteralString = "select now()"

# Requests in one public state that is no end, as of now.
OPEN: LiteralString = """
select j.request_id from private.job j
 where j.kind = 'root' and j.state = any (%(states)s)
   and (%(state)s <> 'queued' or j.run_at is null) and (%(state)s <> 'scheduled' or j.run_at is not null)
   and (%(owner)s::uuid is null or j.owner = %(owner)s) and (%(model)s::int is null or j.model_id = %(model)s)
 order by j.id
"""
# Changes to one account's rows take turns; only then its jobs are locked.
TAKE_TURN: LiteralString = "select private.take_turn(r.owner) from private.request r where r.id = %(id)s"
LOCK: LiteralString = """
select case when j.state = 'ready' and j.run_at is not null then 'scheduled'
            else gate.request_state(j.state) end
  from private.request r join private.job j on j.id = r.job_id where r.id = %(id)s for no key update of j
"""

# The next batch of dead letters, the first one first. Those that failed after the redrive began are no part
# of it: it would never end.
NEXT_DEAD: LiteralString = """
select r.id, d.finished_at, d.id as job_id
  from (select j.id, j.finished_at, j.request_id from private.job j
         where (j.finished_at, j.id) > (%(after)s::timestamptz, %(job)s) and j.finished_at <= %(began)s
           and j.kind = 'root' and j.state = 'failed'
           and (%(seconds)s::float8 is null
                or j.finished_at >= %(began)s - make_interval(secs => %(seconds)s))
           and (%(code)s::text is null or j.error_code = %(code)s)
         order by j.finished_at, j.id limit %(limit)s) d
  join private.request r on r.id = d.request_id order by d.finished_at, d.id
"""
COUNT_DEAD: LiteralString = """
select count(*)::int from private.job j
 where j.finished_at is not null and j.kind = 'root' and j.state = 'failed'
   and (%(seconds)s::float8 is null or j.finished_at >= now() - make_interval(secs => %(seconds)s))
   and (%(code)s::text is null or j.error_code = %(code)s)
"""

PAUSES: LiteralString = """
select (select q.paused_at from private.queue q) as everything,
       coalesce((select array_agg(m.name order by m.name) from private.model m where m.paused_at is not null),
                '{}') as models,
       (select count(*)::int from private.job j where j.state = 'running') as running
"""

# Workers by number or by name; a number is never taken for a name.
WORKER: LiteralString = """
select w.id from private.worker w
 where w.id = %(number)s or (%(number)s::int is null and w.name = %(name)s) order by w.id
"""


@dataclass(frozen=True, slots=True)
class Pauses:
    """What is paused, and how many still run to their end."""

    everything: datetime | None
    models: list[str]
    running: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order on one row; no code: it was done."""

    id: str
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a redrive has got to."""

    id: UUID
    finished_at: datetime
    job_id: int


async def cancel(connection: Connection, short: str) -> Answer:
    """Ends a queued or running request."""
    return await _order(connection, CANCEL, short)


async def find_open(connection: Connection, wanted: Wanted) -> list[UUID]:
    """All that are in this state now, of the account and the model that are wanted."""
    given = {**await parameters(connection, wanted), "state": wanted.state}
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(OPEN, given)
        return await cursor.fetchall()


async def cancel_all(connection: Connection, ids: list[UUID], state: OpenState) -> AsyncIterator[bool]:
    """Ends these, row by row, so that nobody's rows stay locked for longer than one takes. Tells of each
    whether it was ended; if not, it has left the state meanwhile, or somebody else is changing it."""
    for request in ids:
        yield await _cancel_if(connection, request, state)


async def retry(connection: Connection, short: str) -> Answer:
    """Queues a failed or cancelled request again."""
    return await _order(connection, RETRY, short)


async def count_dead(connection: Connection, wanted: WantedDead) -> int:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(COUNT_DEAD, wanted.parameters())
        return int(await cursor.fetchone() or 0)


async def redrive(connection: Connection, wanted: WantedDead) -> AsyncIterator[bool]:
    """Queues all dead letters again, row by row, so that nobody's rows stay locked for longer than one takes.
    Tells of each whether it was queued; if not, somebody else was faster."""
    async with connection.cursor(row_factory=scalar_row) as clock:
        began = await (await clock.execute(NOW)).fetchone()
    parameters = {**wanted.parameters(), "limit": BATCH, "began": began, "after": "-infinity", "job": 0}
    while batch := await _next_dead(connection, parameters):
        for place in batch:
            yield (await _order_row(connection, RETRY, place.id)).code is None
        parameters |= {"after": batch[-1].finished_at, "job": batch[-1].job_id}


async def pause(connection: Connection, model: str | None) -> Pauses:
    """Stops claims, of one model or of all."""
    await connection.execute(PAUSE, {"model": await _model_name(connection, model)})
    return await read_pauses(connection)


async def resume(connection: Connection, model: str | None) -> Pauses:
    """Ends a pause."""
    await connection.execute(RESUME, {"model": await _model_name(connection, model)})
    return await read_pauses(connection)


async def read_pauses(connection: Connection) -> Pauses:
    async with connection.cursor(row_factory=class_row(Pauses)) as cursor:
        await cursor.execute(PAUSES)
        return await cursor.fetchone() or Pauses(None, [], 0)


async def drain(connection: Connection, worker: str, *, on: bool) -> int:
    """The worker, by number or name, claims nothing more, or claims again. Returns its number."""
    number = int(worker) if worker.isascii() and worker.isdigit() and len(worker) < 10 else None
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(WORKER, {"number": number, "name": worker})
        found: list[int] = await cursor.fetchall()
    if not found:
        raise RequestFailed("unknown_worker", f"No worker is called {worker}. See `precis queue workers`.")
    if len(found) > 1:
        numbers = ", ".join(map(str, found))
        raise BadUsage("ambiguous_worker", f"Several workers are called {worker}: say which of {numbers}.")
    await connection.execute(DRAIN, {"worker": found[0], "on": on})
    return found[0]


async def _order(connection: Connection, statement: LiteralString, short: str) -> Answer:
    try:
        request = await request_id(connection, short)
    except (BadUsage, RequestFailed) as fault:
        return Answer(short, fault.code, fault.message)
    return await _order_row(connection, statement, request)


async def _order_row(connection: Connection, statement: LiteralString, request: UUID) -> Answer:
    """One refusal does not keep the others from being done; a database that has gone does."""
    try:
        with explained("The database"):
            await connection.execute(statement, {"id": request})
    except Fault as fault:
        if isinstance(fault, RequestFailed) or fault.code == "busy":
            return Answer(str(request), fault.code, fault.message)
        raise
    return Answer(str(request))


async def _cancel_if(connection: Connection, request: UUID, state: OpenState) -> bool:
    """Ends it if it is in this state still. A claim that comes meanwhile passes by its locked row."""
    try:
        with explained("The database"):
            async with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
                await cursor.execute(TAKE_TURN, {"id": request})
                await cursor.execute(LOCK, {"id": request})
                is_meant: bool = await cursor.fetchone() == state
                if is_meant:
                    await cursor.execute(CANCEL, {"id": request})
                return is_meant
    except Fault as fault:
        if fault.code == "busy":
            return False
        raise


async def _next_dead(connection: Connection, parameters: dict[str, object]) -> list[_Place]:
    async with connection.cursor(row_factory=class_row(_Place)) as cursor:
        await cursor.execute(NEXT_DEAD, parameters)
        return await cursor.fetchall()


async def _model_name(connection: Connection, name: str | None) -> str | None:
    """The model's full name, as a request would name it; none stands for everything."""
    if name is None:
        return None
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(MODEL_NAME, {"id": await model_id(connection, name)})
        return str(await cursor.fetchone())
