"""Reads an account's events, rows and partial text as that account: its claims, and the gate of REST.

Knows no stream and no HTTP.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from json import loads
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeAlias
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from chassis.database import Pool
from listener.events.incarnation import BEGIN_INCARNATION, INCARNATION, Head

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = PoolConnectionProxy[Any]

PERSON: Final = "pgrest_auth"  # what the claims say
READER: Final = "event_reader"  # whom the read is: it sees what that role sees, and can write nothing
ROW_MAX_BYTES: Final = 256 * 1024
READ_MAX_BYTES: Final = 1024 * 1024
READ_MAX_EVENTS: Final = 200
READ_MAX_PIECES: Final = 2_000

# Learns the incarnation while still the service: it is nobody else's to read.
BECOME_USER: Final[LiteralString] = (
    "select " + INCARNATION + ", set_config('role', $1, true), set_config('request.jwt.claims', $2, true)"
)
# Asks the gate in the same breath: if it refuses, the statement fails, and nothing is read.
READ_HEAD: Final = "select n, min_n, gate.pre_request() as passed from gate.event_cursor"

# The newest event of each thing among the next ones, with the row as it is now: states are facts, not deltas.
# What does not fit into one read waits for the next. Every column but `text`: it never changes and is long.
# The `limit 1` keeps the planner from joining all of the owner's rows (200 of 250 took 2.5 s, now 6 ms).
READ_EVENTS: Final = """
with next as materialized (
  select n, kind, ref, gone, at from gate.event where n > $1 order by n limit $2
), newest as (
  select distinct on (kind, ref) n, kind, ref, gone, at from next order by kind, ref, n desc
), seen as (
  select e.*, r.state,
         case when octet_length(r.whole) <= $3 then r.whole else (r.whole::jsonb - 'result')::text end as row,
         coalesce(octet_length(r.whole) > $3, false) as truncated
    from newest e
    left join lateral (
      select v.state, row_to_json(v)::text as whole
        from (select q.id, q.title, q.task, q.document_id, q.url, q.target_words, q.target_ratio, q.style,
                     q.language, q.model, q.priority, q.run_at, q.state, q.progress, q.result, q.checks,
                     q.engine, q.error_code, q.error_message, q.created_at, q.updated_at, q.finished_at
                from public.requests q where q.id = e.ref limit 1) v
    ) r on e.kind = 'request' and not e.gone
), sized as (
  select *, sum(octet_length(row)) over (order by n rows between unbounded preceding and 1 preceding)
         as bytes_before
    from seen
)
select n, kind, ref, gone, at, state, row, truncated
  from sized where coalesce(bytes_before, 0) < $4 order by n
"""

READ_PIECES: Final = """
select p.request_id, p.epoch, p.n, p.text
  from gate.partial p
  left join unnest($1::uuid[], $2::bigint[], $3::int[]) as seen(request_id, epoch, n)
         on seen.request_id = p.request_id and seen.epoch = p.epoch
 where seen.n is null or p.n > seen.n
 order by p.request_id, p.epoch, p.n limit $4
"""

READ_SECONDS = Histogram("precis_events_fetch_seconds", "Time of one read as one account.")
READ_ROWS = Counter("precis_events_fetch_rows_total", "Events read, after those of one row were merged.")
READ_PARTIALS = Counter("precis_events_partial_chunks_total", "Pieces of partial text read.")

log = structlog.get_logger()


class RefusedError(Exception):
    """The gate does not let these claims pass (any more): `code` and `message` are for the client."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Event:
    """Something that changed. `row` is JSON, None if it is gone or no longer to be seen."""

    n: int
    kind: str
    ref: UUID
    gone: bool
    at: datetime
    state: str | None
    row: str | None
    truncated: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a running request's text; another `epoch` is another attempt, which begins anew."""

    request_id: UUID
    epoch: int
    n: int
    text: str


@dataclass(frozen=True, slots=True)
class Update:
    """What one moment of the database looked like, as far as it was read."""

    head: Head
    events: tuple[Event, ...] = ()
    pieces: tuple[Piece, ...] = ()

    @property
    def reached(self) -> int:
        """Up to which number this tells everything."""
        return self.events[-1].n if self.events else self.head.n


class Reader:
    """Reads in transactions that can do nothing else, on connections that belong to nobody in between."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def head(self, claims: str) -> Head:
        """How far the account's log goes. Raises RefusedError."""
        async with self._as_user(claims) as (connection, incarnation):
            return await _head(connection, incarnation)

    @asynccontextmanager
    async def reading(
        self, claims: str, *, after: int, seen: Sequence[tuple[UUID, int, int]] | None = None
    ) -> AsyncIterator[Update]:
        """Events after a number, and unless `seen` is None the pieces beyond its (request, epoch, n).

        Yielded before the transaction ends: nobody need wait for that. Raises RefusedError.
        """
        async with self._as_user(claims) as (connection, incarnation):
            with READ_SECONDS.time():
                head = await _head(connection, incarnation)
                events = await _events(connection, after) if head.n > after else ()
                pieces = await _pieces(connection, seen) if seen is not None else ()
            READ_ROWS.inc(len(events))
            READ_PARTIALS.inc(len(pieces))
            yield Update(head, events, pieces)

    @asynccontextmanager
    async def _as_user(self, claims: str) -> AsyncIterator[tuple["Connection", str]]:
        """A connection that is the user's, and the incarnation, which is begun first where there is none."""
        async with self._pool.acquire() as connection:
            while True:
                # One snapshot, so that incarnation, head, events, rows and pieces agree.
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    if incarnation := await connection.fetchval(BECOME_USER, READER, claims):
                        yield connection, incarnation
                        return
                if await connection.fetchval(BEGIN_INCARNATION):
                    log.info("incarnation.begun")


async def _head(connection: "Connection", incarnation: str) -> Head:
    try:
        row = await connection.fetchrow(READ_HEAD)
    except asyncpg.PostgresError as error:
        if error.sqlstate == "PGRST":
            raise _refusal(error) from error
        raise
    if row is None:
        raise RefusedError("session_ended", "This account is gone. Sign in again.")
    return Head(incarnation, row["n"], row["min_n"])


async def _events(connection: "Connection", after: int) -> tuple[Event, ...]:
    rows = await connection.fetch(READ_EVENTS, after, READ_MAX_EVENTS, ROW_MAX_BYTES, READ_MAX_BYTES)
    return tuple(Event(**row) for row in rows)


async def _pieces(connection: "Connection", seen: Sequence[tuple[UUID, int, int]]) -> tuple[Piece, ...]:
    columns = [[entry[column] for entry in seen] for column in range(3)]
    rows = await connection.fetch(READ_PIECES, *columns, READ_MAX_PIECES)
    return tuple(Piece(**row) for row in rows)


def _refusal(error: asyncpg.PostgresError) -> RefusedError:
    told = loads(str(error.args[0]))
    return RefusedError(told["code"], told["message"])
