"""Keeps this process's keys fresh: looks whenever told to, and each 30 seconds in case the telling was lost.

Knows neither what a key is nor who told.
"""

import asyncio
from collections.abc import Callable

import structlog

from authsvc.database import COMMAND_SECONDS, CONNECT_SECONDS
from authsvc.keys.ring import POLL_SECONDS, KeyRing
from chassis.database import backoff, connect, passing, told

CHANNEL = "pgrst"  # where PostgREST is told of the same changes

log = structlog.get_logger()


async def watch(ring: KeyRing, url: str, *, looked: Callable[[], None]) -> None:
    """Look, forever; `looked` is called after each look. Raises StartError if the keys cannot be opened."""
    delays = backoff(base=0.5, cap=5.0)
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await _follow(ring, url, looked)
        except Exception as error:
            if not passing(error):
                raise
            log.warning("keys.not_followed", error=told(error))
        if asyncio.get_running_loop().time() - began > POLL_SECONDS:
            delays = backoff(base=0.5, cap=5.0)
        await asyncio.sleep(next(delays))


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
