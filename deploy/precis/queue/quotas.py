"""Quotas and weights of accounts, which `precis queue quota` shows and sets. Knows no terminal."""

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import class_row

from precis.queue.connection import Connection
from precis.queue.requests import owner_id

MOST_LISTED = 100

# The account's own row, or the one for everybody; and what has been used of it.
ALLOWANCE: LiteralString = """
select coalesce(a.email, 'everybody') as who, w.owner is not null as own,
       w.requests_per_day, w.bytes_per_day, w.requests_waiting, w.changes_per_minute, w.weight::float8,
       c.waiting as waiting_now,
       c.day_requests * (c.day = (now() at time zone 'UTC')::date)::int as requests_today,
       c.day_bytes * (c.day = (now() at time zone 'UTC')::date)::int as bytes_today
  from private.allowance_of(%(owner)s) w
  left join private.account a on a.id = %(owner)s
  left join private.event_cursor c on c.owner = %(owner)s
"""
OWN_ONES: LiteralString = """
select a.email as who, true as own,
       w.requests_per_day, w.bytes_per_day, w.requests_waiting, w.changes_per_minute, w.weight::float8,
       c.waiting as waiting_now,
       c.day_requests * (c.day = (now() at time zone 'UTC')::date)::int as requests_today,
       c.day_bytes * (c.day = (now() at time zone 'UTC')::date)::int as bytes_today
  from private.allowance w
  join private.account a on a.id = w.owner
  left join private.event_cursor c on c.owner = w.owner
 order by a.email_key limit %(limit)s
"""
# A row of an account's own begins as a copy of everybody's. `given` names what is to be set.
SET: LiteralString = """
insert into private.allowance as a
  (owner, requests_per_day, bytes_per_day, requests_waiting, changes_per_minute, weight)
select %(owner)s::uuid,
       case when 'requests_per_day' = any (%(given)s) then %(requests_per_day)s::int
            else g.requests_per_day end,
       case when 'bytes_per_day' = any (%(given)s) then %(bytes_per_day)s::bigint
            else g.bytes_per_day end,
       case when 'requests_waiting' = any (%(given)s) then %(requests_waiting)s::int
            else g.requests_waiting end,
       case when 'changes_per_minute' = any (%(given)s) then %(changes_per_minute)s::int
            else g.changes_per_minute end,
       coalesce(%(weight)s::real, g.weight, 1)
  from (select) one left join private.allowance g on g.owner is null
on conflict (owner) do update set
       requests_per_day = case when 'requests_per_day' = any (%(given)s) then excluded.requests_per_day
                               else a.requests_per_day end,
       bytes_per_day = case when 'bytes_per_day' = any (%(given)s) then excluded.bytes_per_day
                            else a.bytes_per_day end,
       requests_waiting = case when 'requests_waiting' = any (%(given)s) then excluded.requests_waiting
                               else a.requests_waiting end,
       changes_per_minute = case when 'changes_per_minute' = any (%(given)s) then excluded.changes_per_minute
                                 else a.changes_per_minute end,
       weight = coalesce(%(weight)s::real, a.weight)
"""
RESET: LiteralString = "delete from private.allowance a where a.owner = %(owner)s"

LIMITS = ("requests_per_day", "bytes_per_day", "requests_waiting", "changes_per_minute")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an account may have; None is no limit. `own`: not everybody's. What it has used: None for
    everybody."""

    who: str
    own: bool
    requests_per_day: int | None
    bytes_per_day: int | None
    requests_waiting: int | None
    changes_per_minute: int | None
    weight: float
    waiting_now: int | None
    requests_today: int | None
    bytes_today: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """What to set: limits by name, None in them is no limit; the weight if it is not None."""

    limits: dict[str, int | None]
    weight: float | None = None

    def __bool__(self) -> bool:
        return bool(self.limits) or self.weight is not None

    def parameters(self) -> dict[str, Any]:
        return {**dict.fromkeys(LIMITS), **self.limits, "given": list(self.limits), "weight": self.weight}


async def read_allowance(connection: Connection, email: str | None) -> Allowance:
    """Of the account of this address, or everybody's."""
    owner = await _owner(connection, email)
    async with connection.cursor(row_factory=class_row(Allowance)) as cursor:
        await cursor.execute(ALLOWANCE, {"owner": owner})
        found = await cursor.fetchone()
    if found is None:  # an operator has deleted everybody's row
        return Allowance(email or "everybody", False, None, None, None, None, 1, None, None, None)
    return found


async def read_own(connection: Connection) -> list[Allowance]:
    """Those of accounts that have one of their own."""
    async with connection.cursor(row_factory=class_row(Allowance)) as cursor:
        await cursor.execute(OWN_ONES, {"limit": MOST_LISTED})
        return await cursor.fetchall()


async def set_allowance(connection: Connection, email: str | None, change: Change) -> None:
    """Gives the account an allowance of its own, or changes it; or everybody's."""
    await connection.execute(SET, {"owner": await _owner(connection, email), **change.parameters()})


async def reset_allowance(connection: Connection, email: str) -> None:
    """The account has the same as everybody again."""
    await connection.execute(RESET, {"owner": await _owner(connection, email)})


async def _owner(connection: Connection, email: str | None) -> UUID | None:
    return await owner_id(connection, email) if email else None
