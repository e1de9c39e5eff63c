"""Deletes requests that ended long ago, now and then. Any worker may run it."""

import asyncio
from typing import Any

import asyncpg
import structlog
from prometheus_client import Counter

from chassis.backoff import spread
from chassis.database import passing, told
from listener.queue import expiry

LOOK_SECONDS = 60.0
# Between two batches: the owners' cursors are free again, and their claims and inserts pass.
BREATH_SECONDS = 0.2

EXPIRED = Counter("precis_expired_requests_total", "Finished requests that were deleted for their age.")

log = structlog.get_logger()


class Retention:
    """`run` for ever. Without it, requests are kept for ever."""

    def __init__(self, pool: "asyncpg.Pool[Any]", *, keep_days: int) -> None:
        self._pool = pool
        self._keep_days = keep_days

    async def run(self) -> None:
        """Look once a minute; while there is much to delete, batch after batch."""
        while True:
            full = await self._sweep()
            await asyncio.sleep(BREATH_SECONDS if full else spread(LOOK_SECONDS, 1.2 * LOOK_SECONDS))

    async def _sweep(self) -> bool:
        """Whether there may be more."""
        try:
            async with self._pool.acquire() as connection:
                expired = await expiry.expire(connection, keep_days=self._keep_days)
        except Exception as error:
            if not passing(error):
                raise
            log.warning("retention.failed", error=told(error))
            return False
        EXPIRED.inc(expired)
        if expired:
            log.info("requests.expired", count=expired)
        return expired >= expiry.BATCH
