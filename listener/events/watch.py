"""Keeps `watched_until` of the accounts with open streams ahead of the clock, so that their events ring.

Knows no stream: it is told owners, and tells which of them may have missed something.
"""

import time
from collections.abc import Collection
from typing import Final
from uuid import UUID

from chassis.database import Pool

WATCH_SECONDS: Final = 60.0
RENEW_SECONDS: Final = 20.0
RENEW_SKIPPED_SECONDS: Final = 1.0
# By our clock a watch ends a little earlier than by the database's.
MARGIN_SECONDS: Final = 5.0

# Waits for writers in flight: what they append is in the backlog that is read afterwards, or it rings.
SET_WATCH: Final = """
update private.event_cursor
   set watched_until = greatest(watched_until, clock_timestamp() + make_interval(secs => $2)) where owner = $1
"""
# One open writer must not hold up everybody's renewal: who is locked is left out, and tried again soon.
RENEW_WATCHES: Final = """
with free as materialized (
  select owner from private.event_cursor where owner = any($1::uuid[]) order by owner for no key update skip locked
)
update private.event_cursor c
   set watched_until = greatest(c.watched_until, clock_timestamp() + make_interval(secs => $2))
  from free where c.owner = free.owner
returning c.owner
"""


class Watches:
    """Until when, by our own clock, each owner's events are sure to ring."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._until: dict[UUID, float] = {}

    async def ensure(self, owner: UUID) -> None:
        """Have the owner watched before a backlog is read. Costs nothing while another stream sees to it."""
        began, until = time.monotonic(), self._until
        if until.get(owner, 0.0) <= began:
            await self._pool.execute(SET_WATCH, owner, WATCH_SECONDS)
            until[owner] = began + WATCH_SECONDS - MARGIN_SECONDS

    async def renew(self, owners: Collection[UUID]) -> tuple[list[UUID], bool]:
        """Renew the watches of `owners` and forget all others.

        Returns those whose watch had lapsed and is set again, who must be re-read, and whether all were reached.
        """
        began, until = time.monotonic(), self._until
        for owner in until.keys() - set(owners):
            del until[owner]
        rows = await self._pool.fetch(RENEW_WATCHES, list(owners), WATCH_SECONDS)
        renewed = [row["owner"] for row in rows]
        lapsed = [owner for owner in renewed if self._until.get(owner, 0.0) <= time.monotonic()]
        until.update(dict.fromkeys(renewed, began + WATCH_SECONDS - MARGIN_SECONDS))
        return lapsed, len(renewed) == len(owners)

    def distrust(self) -> None:
        """After a lost connection: the database may be another one, which has never heard of our watches."""
        self._until = {}  # a new one, so that a statement still under way notes its success in the old one
