"""Keeps this process's keys fresh: looks whenever told to, and each 30 seconds in case the telling was lost.

Knows neither what a key is nor who told.
"""

import asyncio
from collections.abc import Callable

import structlog

from authsvc.database import COMMAND_SECONDS, CONNECT_SECONDS
from authsvc.keys.ring import POLL_SECONDS, KeyRing
from chassis.database import backoff, connect, connection_lost

CHANNEL = "pgrst"  # where PostgREST is told of the same changes

log = structlog.get_logger()


async def watch(ring: KeyRing, url: str, *, looked: Callable[[], None]) -> None:
    """Look, forever; `looked` is called after each look. Ends only by what reconnecting cannot mend."""
    for delay in backoff(base=0.5, cap=5.0):
        try:
            await _follow(ring, url, looked)
        except Exception as error:
            if not connection_lost(error):
                raise
            log.warning("keys.connection_lost", error=f"{type(error).__name__}: {error}")
        await asyncio.sleep(delay)


async def _follow(ring: KeyRing, url: str, looked: Callable[[], None]) -> None:
    options = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS}
    connection = await connect(url, name="authsvc keys", **options)
    try:
        told = asyncio.Event()
        await connection.add_listener(CHANNEL, lambda *_: told.set())
        connection.add_termination_listener(lambda _: told.set())
        while True:
            told.clear()
            await ring.look(connection)
            looked()
            await _wait(told)
    finally:
        connection.terminate()


async def _wait(told: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(POLL_SECONDS):
            await told.wait()
    except TimeoutError:
        return
