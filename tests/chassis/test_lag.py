"""How late the event loop is."""

import asyncio
import time

from prometheus_client import REGISTRY

from chassis.lag import LOOK_SECONDS, measure


def late(than: float) -> float:
    """How often it was later."""
    found = [
        REGISTRY.get_sample_value("precis_loop_lag_seconds_bucket", {"le": le}) or 0.0
        for le in ("+Inf", str(than))
    ]
    return found[0] - found[1]


async def test_what_holds_the_loop_is_seen() -> None:
    before = late(0.1)
    measuring = asyncio.create_task(measure())
    await asyncio.sleep(0)
    until = time.monotonic() + LOOK_SECONDS + 0.2
    while time.monotonic() < until:
        pass
    async with asyncio.timeout(10):
        while late(0.1) == before:
            await asyncio.sleep(0)
    measuring.cancel()
