"""Rate limits that all processes share: token buckets and failure counters in the database, by its clock.

Knows names and keyed hashes only, neither addresses nor accounts.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from authsvc.database import borrowed
from authsvc.errors import RateLimitedError, SignInBlockedError
from authsvc.keys.master import mac
from authsvc.metrics import LIMITED
from chassis.database import Pool

FAILURES_IN_A_ROW_MAX = 100  # NIST SP 800-63B-4, 3.2.2
REFUSALS_KEPT = 10_000
REFUSAL_SECONDS = 2.0

# $1 key, $2 capacity, $3 tokens per second. No row: the bucket is empty. clock_timestamp() is read under the
# row's lock, so parallel calls see time pass in the order they get it.
TAKE = """
insert into private.rate_bucket as b (key, tokens, refilled_at) values ($1, $2::float8 - 1, clock_timestamp())
on conflict (key) do update set refilled_at = clock_timestamp(),
  tokens = least($2, b.tokens + greatest(0, extract(epoch from clock_timestamp() - b.refilled_at)) * $3) - 1
where least($2, b.tokens + greatest(0, extract(epoch from clock_timestamp() - b.refilled_at)) * $3) >= 1
returning true
"""
SECONDS_TO_REFILL = """
select greatest(0, (1 - tokens) / $2::float8 - extract(epoch from clock_timestamp() - refilled_at))::float8
  from private.rate_bucket where key = $1
"""
# A failure counter in the same table: tokens counts failures in a row, refilled_at is when the next try may
# come. Five are free, then 1 s doubling to 15 min. Counted before the password is looked at, so that parallel
# tries cannot slip through.
COUNT_FAILURE = """
insert into private.rate_bucket as b (key, tokens, refilled_at) values ($1, 1, clock_timestamp())
on conflict (key) do update set tokens = b.tokens + 1, refilled_at = clock_timestamp() + interval '1 s'
  * case when b.tokens + 1 < 5 then 0 else least(900, 2 ^ (least(20, b.tokens + 1) - 5)) end
where b.refilled_at <= clock_timestamp() and b.tokens < $2
returning true
"""
SECONDS_TO_TRY = """
select b.tokens, greatest(0, extract(epoch from b.refilled_at - clock_timestamp()))::float8 as wait
  from private.rate_bucket b where b.key = $1
"""
FORGET_FAILURES = "delete from private.rate_bucket where key = $1"
# Buckets are full after two hours without use. Counters last 90 days, blocked ones until somebody lifts it.
PRUNE = """
delete from private.rate_bucket where key in (
  select key from private.rate_bucket
   where refilled_at < now() - interval '2 h'
     and (get_byte(key, 0) = 0 or (refilled_at < now() - interval '90 d' and tokens < $1))
   order by refilled_at limit 10000)
"""

KIND = {"bucket": b"\0", "failures": b"\1"}


@dataclass(frozen=True, slots=True)
class Limit:
    """`capacity` uses at once, refilled over `seconds`."""

    name: str
    capacity: int
    seconds: int


@dataclass(slots=True)
class Refusals:
    """Keys that were just refused, so that a flood of them does not reach the database."""

    until: OrderedDict[bytes, float] = field(default_factory=OrderedDict)

    def remember(self, key: bytes, wait: float) -> None:
        self.until[key] = time.monotonic() + min(wait, REFUSAL_SECONDS)
        self.until.move_to_end(key)
        if len(self.until) > REFUSALS_KEPT:
            self.until.popitem(last=False)

    def remaining(self, key: bytes) -> float:
        return self.until.get(key, 0) - time.monotonic()


class Limits:
    """The limits, with keys that say nothing about whom they limit."""

    def __init__(self, pool: Pool, secret: bytes) -> None:
        self._pool = pool
        self._secret = secret
        self._refusals = Refusals()

    async def spend(self, limit: Limit, whom: str) -> None:
        """One use of the limit. Raises RateLimitedError."""
        key = self._key("bucket", limit.name, whom)
        if (wait := self._refusals.remaining(key)) > 0:
            self._refuse(limit.name, wait)
        rate = limit.capacity / limit.seconds
        async with borrowed(self._pool) as connection:
            if await connection.fetchval(TAKE, key, limit.capacity, rate):
                return
            wait = await connection.fetchval(SECONDS_TO_REFILL, key, rate) or 0
        self._refusals.remember(key, wait)
        self._refuse(limit.name, wait)

    async def count_failure(self, whom: str) -> None:
        """A try that is a failure until forgotten. Raises RateLimitedError or SignInBlockedError."""
        key = self._key("failures", "login", whom)
        async with borrowed(self._pool) as connection:
            if await connection.fetchval(COUNT_FAILURE, key, FAILURES_IN_A_ROW_MAX):
                return
            row = await connection.fetchrow(SECONDS_TO_TRY, key)
        if row and row["tokens"] >= FAILURES_IN_A_ROW_MAX:
            LIMITED.labels("account_blocked").inc()
            raise SignInBlockedError
        self._refuse("account", row["wait"] if row else 0)

    async def forget_failures(self, whom: str) -> None:
        """The try succeeded, or an operator lifts a block."""
        await self._execute(FORGET_FAILURES, self._key("failures", "login", whom))

    async def prune(self) -> None:
        """Removes what no longer limits anybody."""
        await self._execute(PRUNE, FAILURES_IN_A_ROW_MAX)

    async def _execute(self, statement: str, argument: object) -> None:
        async with borrowed(self._pool) as connection:
            await connection.execute(statement, argument)

    def _key(self, kind: Literal["bucket", "failures"], name: str, whom: str) -> bytes:
        return KIND[kind] + mac(self._secret, f"{name}\0{whom}".encode())[:20]

    def _refuse(self, name: str, wait: float) -> None:
        LIMITED.labels(name).inc()
        raise RateLimitedError(wait)
