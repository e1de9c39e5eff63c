"""The queue's depth and age as gauges, counted when somebody asks for the metrics and not more often."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
from prometheus_client import Counter, Gauge

from listener.queue.depth import Depth, count, count_rings

FRESH_SECONDS = 5.0  # two scrapers, or an impatient one, cost no more than one

JOBS = Gauge(
    "precis_queue_jobs", "Jobs by state; those that have ended, in the last day.", ["model", "state"]
)
NEXT_AGE = Gauge("precis_queue_next_age_seconds", "How long the job that is next has been ready.", ["model"])
PAUSED = Gauge("precis_queue_paused", "1 while the whole queue is paused.")
MODEL_PAUSED = Gauge("precis_model_paused", "1 while the model is paused by itself.", ["model"])
RINGS_SENT = Counter("precis_rings_sent_total", "Times the doorbell was rung, by whomever.")
READ_AT = Gauge("precis_queue_read_timestamp_seconds", "When these figures of the queue were read.")


STATES = ("ready", "scheduled", "running", "done", "failed", "cancelled")


class QueueGauges:
    """`read` before the metrics are told."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool
        self._turn = asyncio.Lock()
        self._read_at = float("-inf")
        self._rings = 0

    async def read(self) -> None:
        """Set the gauges by the database, if they are not fresh. Raises what the database raises: then they
        stay as they were, and their age tells."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now - self._read_at < FRESH_SECONDS:
                return
            async with self._pool.acquire() as connection:
                depths, (rings, paused) = await count(connection), await count_rings(connection)
            self._read_at = now
        _show(depths)
        PAUSED.set(paused)
        RINGS_SENT.inc(max(0, rings - self._rings))
        self._rings = rings
        READ_AT.set_to_current_time()


def _show(depths: Sequence[Depth]) -> None:
    for gauge in (JOBS, NEXT_AGE, MODEL_PAUSED):
        gauge.clear()  # a model that is gone has no figures
    for depth in depths:
        for state in STATES:
            JOBS.labels(depth.model, state).set(getattr(depth, state))
        NEXT_AGE.labels(depth.model).set(depth.next_age_seconds)
        MODEL_PAUSED.labels(depth.model).set(depth.paused)
