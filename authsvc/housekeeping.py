"""Removes rows that have had their day. Knows no table: only what to call, and how often."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from chassis.backoff import spread
from chassis.database import passing, told

EVERY_SECONDS = 600.0

log = structlog.get_logger()


async def keep_house(chores: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Do each chore, forever; several processes may, at different moments."""
    while True:
        for chore in chores:
            try:
                await chore()
            except Exception as error:
                if not passing(error):
                    raise
                log.warning("housekeeping.put_off", error=told(error))
        await asyncio.sleep(spread(0.5 * EVERY_SECONDS, 1.5 * EVERY_SECONDS))
