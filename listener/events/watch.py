"""Keeps `watched_until` of the accounts with open streams ahead of the clock, so that their events ring.

Knows no stream: it is told owners, and tells which of them may have missed something.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from chassis.backoff import spread
from chassis.database import Pool, passing, told

WATCH_SECONDS: Final = 60.0
RENEW_SECONDS: Final = 20.0
RENEW_SKIPPED_SECONDS: Final = 1.0
# So long a stream that opens waits for the account's open writers, and so many of them wait at once.
PATIENCE: Final = "500ms"
WAITING_AT_ONCE: Final = 4
# By our clock a watch ends a little earlier than by the database's.
MARGIN_SECONDS: Final = 5.0

# Waits for writers in flight: what they append is in the backlog that is read afterwards, or it rings.
LIMIT_WAIT: Final = "select set_config('lock_timeout', $1, true)"
SET_WATCH: Final = """
update private.event_cursor
   set watched_until = greatest(watched_until, clock_timestamp() + make_interval(secs => $2)) where owner = $1
"""
# One open writer must not hold up everybody's renewal: who is locked is left out, and tried again soon.
RENEW_WATCHES: Final = """
with free as materialized (
  select owner from private.event_cursor
   where owner = any($1::uuid[]) order by owner for no key update skip locked
)
update private.event_cursor c
   set watched_until = greatest(c.watched_until, clock_timestamp() + make_interval(secs => $2))
  from free where c.owner = free.owner
returning c.owner
"""

log = structlog.get_logger()


class Watches:
    """Until when, by our own clock, each owner's events are sure to ring."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._until: dict[UUID, float] = {}
        self._setting = asyncio.Semaphore(WAITING_AT_ONCE)
        self._needed = asyncio.Event()

    async def keep(self, owners: Callable[[], Collection[UUID]], missed: Callable[[UUID], None]) -> None:
        """Renew for ever. `missed` is told whose watch had lapsed, until it is set: they must be re-read."""
        while True:
            reached_all = False
            try:
                lapsed, reached_all = await self.renew(owners())
                for owner in lapsed:
                    missed(owner)
            except Exception as error:
                if not passing(error):
                    raise
                log.warning("watches.not_renewed", error=told(error))
            skipped = spread(0.5 * RENEW_SKIPPED_SECONDS, 1.5 * RENEW_SKIPPED_SECONDS)
            await self._rest(RENEW_SECONDS if reached_all else skipped)

    async def ensure(self, owner: UUID) -> None:
        """Have the owner watched before a backlog is read. Costs nothing while another stream sees to it.

        A writer that stays open longer than our patience does not keep a stream from opening: `keep` then has
        the owner re-read until the watch is set.
        """
        began, until = time.monotonic(), self._until
        if until.get(owner, 0.0) > began:
            return
        try:
            async with self._setting, self._pool.acquire() as connection, connection.transaction():
                await connection.execute(LIMIT_WAIT, PATIENCE)
                await connection.execute(SET_WATCH, owner, WATCH_SECONDS)
            until[owner] = began + WATCH_SECONDS - MARGIN_SECONDS
        except asyncpg.LockNotAvailableError:
            self._needed.set()

    async def renew(self, owners: Collection[UUID]) -> tuple[list[UUID], bool]:
        """Renew the watches of `owners` and forget all others.

        Returns those whose watch had lapsed, set again now or not, and whether all were reached.
        """
        began, until = time.monotonic(), self._until
        for owner in until.keys() - set(owners):
            del until[owner]
        rows = await self._pool.fetch(RENEW_WATCHES, list(owners), WATCH_SECONDS)
        renewed = [row["owner"] for row in rows]
        lapsed = [owner for owner in owners if self._until.get(owner, 0.0) <= time.monotonic()]
        until.update(dict.fromkeys(renewed, began + WATCH_SECONDS - MARGIN_SECONDS))
        return lapsed, len(renewed) == len(owners)

    def distrust(self) -> None:
        """After a lost connection: anything may have been missed, where no watch of ours is known."""
        self._until = {}  # a new one, so that a statement still under way notes its success in the old one
        self._needed.set()

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._needed.wait()
        except TimeoutError:
            return
        self._needed.clear()
