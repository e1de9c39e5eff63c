"""Looks after the jobs of all workers: takes back those of dead ones and those that hang, makes due ones
ready.

Costs nothing while there is nothing to do: each renewal of the lease tells whether there is. Any worker may
run it; the statements let one at a time.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import structlog
from prometheus_client import Counter

from chassis.backoff import Backoff, spread
from chassis.database import passing, told
from listener.queue import rescue
from listener.queue.jobs import Claim
from listener.queue.rescue import Rescued
from listener.queue.workers import Renewal
from listener.work.lease import Lease

PRUNE_SECONDS = 60.0
LIFT_SECONDS = 1.0
JITTER_SECONDS = 0.02  # all workers hear of the same job that falls due

RESCUED = Counter("precis_rescued_jobs_total", "Jobs taken back.", ["reason", "outcome"])
DUE = Counter("precis_due_jobs_total", "Jobs made ready when their time had come.")
LIFTED = Counter("precis_lifted_jobs_total", "Jobs brought to the front that claims would not have found.")

log = structlog.get_logger()


class Sweeper:
    """`hear` each renewal, `expect` jobs that will be due, `run` for ever."""

    def __init__(
        self,
        pool: "asyncpg.Pool[Any]",
        *,
        lease: Lease,
        overdue: Callable[[], Sequence[Claim]],
        max_attempts: int,
        found: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._lease = lease
        self._overdue = overdue
        self._max_attempts = max_attempts
        self._found = found
        self._due_at = float("inf")
        self._prune_at = float("-inf")
        self._lift_at = float("inf")
        self._rescue_at = float("inf")
        self._wake = asyncio.Event()

    def hear(self, renewal: Renewal) -> None:
        """What a renewal saw of other workers and of time."""
        fenced = any(other.fenced for other in renewal.others)
        self._rescue_at = self._now() if fenced else self._lease.silence.due_at()
        if renewal.due_seconds is not None:
            self.expect(renewal.due_seconds)
        self._wake.set()

    def expect(self, seconds: float) -> None:
        """A job will be due then."""
        self._due_at = min(self._due_at, self._now() + max(0.0, seconds))
        self._wake.set()

    def claimed(self) -> None:
        """Clocks have moved on: look in a second who has been left behind."""
        if self._lift_at == float("inf"):
            self._lift_at = self._now() + LIFT_SECONDS
            self._wake.set()

    async def run(self) -> None:
        """Sweep when there is something to sweep, for ever."""
        delays = Backoff(base=0.1, cap=2.0)
        while True:
            self._wake.clear()
            try:
                await self._sweep()
                delays.reset()
                pause = min(self._rescue_at, self._due_at, self._prune_at, self._lift_at) - self._now()
            except Exception as error:
                if not passing(error):
                    raise
                log.warning("sweeper.failed", error=told(error))
                pause = delays.next()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause) + spread(0, JITTER_SECONDS)):
                    await self._wake.wait()

    async def _sweep(self) -> None:
        if self._now() >= self._rescue_at:
            self._rescue_at = float("inf")  # until the next renewal: who lives has then counted on
            await self._rescue()
        if claims := self._overdue():
            await self._requeue_overdue(claims)
        if self._now() >= self._due_at:
            self._due_at = float("inf")
            await self._ready_due()
        if self._now() >= self._lift_at:
            self._lift_at = float("inf")
            await self._lift()
        if self._now() >= self._prune_at:
            async with self._pool.acquire() as connection:
                await rescue.prune_partials(connection)
            self._prune_at = self._now() + PRUNE_SECONDS

    async def _rescue(self) -> None:
        suspects = self._lease.silence.suspects(self._now())
        async with self._pool.acquire() as connection:
            rescued = await rescue.rescue(connection, suspects, max_attempts=self._max_attempts)
        if rescued.fenced:
            log.warning("worker.gone", workers=rescued.fenced)
        self._count(rescued, "worker_lost")
        if rescued.requeued or rescued.failed or rescued.fenced:  # there may be more
            self._rescue_at = self._now()
            self._found()

    async def _requeue_overdue(self, claims: Sequence[Claim]) -> None:
        async with self._pool.acquire() as connection:
            rescued = await rescue.requeue_overdue(connection, claims, max_attempts=self._max_attempts)
        self._count(rescued, "deadline_exceeded")
        if rescued.requeued or rescued.failed:
            self._found()

    def _count(self, rescued: Rescued, reason: str) -> None:
        RESCUED.labels(reason, "requeued").inc(rescued.requeued)
        RESCUED.labels(reason, "failed").inc(rescued.failed)
        if rescued.requeued or rescued.failed:
            log.warning("jobs.rescued", reason=reason, requeued=rescued.requeued, failed=rescued.failed)

    async def _ready_due(self) -> None:
        async with self._pool.acquire() as connection:
            moved = await rescue.ready_due(connection)
        DUE.inc(moved)
        if moved >= rescue.BATCH:
            self.expect(0.0)

    async def _lift(self) -> None:
        async with self._pool.acquire() as connection:
            lifted = await rescue.lift(connection)
        LIFTED.inc(lifted)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
