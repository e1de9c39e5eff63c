"""How long the workers are silent: each one's /readyz is asked all the time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import aiohttp

EVERY_SECONDS = 0.05
ANSWER_SECONDS = 120.0


@dataclass(slots=True)
class Pulse:
    """`worst` is the longest time that a question waited for its answer, one still open included."""

    worst: float = 0.0

    def note(self, seconds: float) -> None:
        self.worst = max(self.worst, seconds)


@contextlib.asynccontextmanager
async def pulse(addresses: Sequence[str]) -> AsyncIterator[Pulse]:
    """Felt until the end of the block."""
    felt = Pulse()
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        feeling = [asyncio.ensure_future(_feel(http, address, felt)) for address in addresses]
        try:
            yield felt
        finally:
            for each in feeling:
                each.cancel()
            await asyncio.gather(*feeling, return_exceptions=True)


async def _feel(http: aiohttp.ClientSession, address: str, felt: Pulse) -> None:
    while True:
        asked = time.monotonic()
        try:
            async with http.get(address) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(EVERY_SECONDS)
        finally:
            felt.note(time.monotonic() - asked)
        await asyncio.sleep(EVERY_SECONDS)
