"""Keeps this process's keys fresh: looks whenever told to, and each 30 seconds in case the telling was lost.

Knows neither what a key is nor who told.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import structlog

from authsvc.database import borrowed
from authsvc.keys.ring import POLL_SECONDS, KeyRing
from chassis.backoff import Backoff
from chassis.database import Pool, passing, told
from chassis.listen import ListenConnection

CHANNEL = "pgrst"  # where PostgREST is told of the same changes

log = structlog.get_logger()


class KeyWatch:
    """`listen` and `look`, both for ever; `looked` is called after each look."""

    def __init__(self, ring: KeyRing, url: str, pool: Pool, *, looked: Callable[[], None]) -> None:
        self._ring = ring
        self._pool = pool
        self._looked = looked
        self._changed = asyncio.Event()
        self._connection = ListenConnection(
            url,
            pool,
            name="authsvc keys",
            handlers={CHANNEL: lambda _payload: self._changed.set()},
            missed=self._changed.set,
        )

    async def listen(self) -> NoReturn:
        """Hear that keys have changed."""
        await self._connection.run()

    async def look(self) -> NoReturn:
        """Bring the ring up to date. Raises StartError if the keys cannot be opened."""
        delays = Backoff(base=0.5, cap=5.0)
        while True:
            self._changed.clear()
            try:
                async with borrowed(self._pool) as connection:
                    await self._ring.look(connection)
            except Exception as error:
                if not passing(error):
                    raise
                log.warning("keys.not_looked_at", error=told(error))
                await asyncio.sleep(delays.next())
                continue
            delays.reset()
            self._looked()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._changed.wait()
