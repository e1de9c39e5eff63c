"""Removes rows that have had their day. Knows no table: only what to call, and how often."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog

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
        await asyncio.sleep(EVERY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 (spreads load, guards nothing)
