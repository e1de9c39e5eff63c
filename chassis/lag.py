"""How late the event loop is: whatever holds it keeps leases, health and everybody's streams waiting.

Used by each process that works on texts; knows nothing of what it does.
"""

import asyncio

from prometheus_client import Histogram

LOOK_SECONDS = 0.05

LAG = Histogram(
    "precis_loop_lag_seconds",
    "How much later than due the event loop did something, twenty times a second.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


async def measure() -> None:
    """For ever."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        LAG.observe(max(0.0, loop.time() - due))
