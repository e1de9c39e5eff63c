"""The worker's lease: registered, renewed every 2 s, and obeyed when it cannot be renewed.

Others take it for ended when they have seen no renewal for too long by their own clocks; ours decides to stop
well before. Knows the work as (job, epoch)s that are held, lost, or to be abandoned.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from prometheus_client import Counter, Histogram

from chassis.backoff import Backoff
from chassis.database import passing, told
from listener.queue import workers
from listener.queue.connection import KeptConnection
from listener.queue.jobs import Claimant
from listener.queue.silence import SilenceWatch
from listener.queue.workers import Renewal

RENEW_SECONDS = 2.0
RENEW_ANSWER_SECONDS = 3.0
# Without a renewal for so long: no new claims; then no model calls. Others wait for LAPSED_SECONDS.
NO_CLAIMS_SECONDS = 10.0
NO_CALLS_SECONDS = 13.0
# The same while the session lock that shows our life is gone: then others take over after VANISHED_SECONDS.
UNSEEN_NO_CLAIMS_SECONDS = 3.0
UNSEEN_NO_CALLS_SECONDS = 4.0
LOOK_AGAIN_SECONDS = 0.2  # whether it has gone, once that matters
# Who was cut off for so long must not judge others by their silence: they were cut off as well.
CUT_OFF_SECONDS = 3.0

RENEWALS = Histogram(
    "precis_lease_renew_seconds", "Time a renewal takes.", buckets=(0.001, 0.003, 0.01, 0.1, 1, 3)
)
LOST = Counter("precis_leases_lost_total", "Times this worker's lease was taken from it.")
FENCED = Counter(
    "precis_lease_fenced_total", "Times all model calls were given up because the lease was about to end."
)

log = structlog.get_logger()


class Holder(Protocol):
    """Whose lease it is."""

    def held(self) -> Sequence[tuple[int, int]]:
        """The (job, epoch)s that run here."""

    def models(self) -> Sequence[int]:
        """The models that can be reached from here."""

    def hosts(self) -> Sequence[int]:
        """The hosts that can."""

    def hear(self, renewal: Renewal, at: float) -> None:
        """A renewal has succeeded, asked for at that local time."""

    def abandon(self, *, stalled: bool) -> None:
        """The lease is about to end: close all model calls and give the jobs back. `stalled`: this process
        was held up, which one of them may have done; else the database was away."""

    def lease_lost(self) -> None:
        """Somebody has taken over all jobs and slots. What runs here is void."""


class Lease:
    """`register`, then `run` for ever."""

    def __init__(self, line: KeptConnection, *, name: str, version: str, holder: Holder) -> None:
        self._line = line
        self._name = name
        self._version = version
        self._holder = holder
        self._nudged = asyncio.Event()
        self._renewed = asyncio.Event()
        self._renewed_at = float("-inf")
        self._held_up_seconds = 0.0
        self._claimant: Claimant | None = None
        self._registered: list[Callable[[], None]] = []
        self._heard: list[Callable[[Renewal], None]] = []
        self._is_seen: Callable[[], bool] = lambda: True
        self.silence = SilenceWatch()
        self.leaving = False
        self.draining = False

    @property
    def claimant(self) -> Claimant:
        """Who we are to the database."""
        assert self._claimant is not None, "not registered yet"
        return self._claimant

    @property
    def may_claim(self) -> bool:
        """Whether the lease is fresh, and nobody wants this worker to leave."""
        longest = NO_CLAIMS_SECONDS if self._is_seen() else UNSEEN_NO_CLAIMS_SECONDS
        return not self.leaving and not self.draining and self._silence() < longest

    @property
    def fresh(self) -> bool:
        """Whether the lease is being renewed."""
        return self._silence() < NO_CLAIMS_SECONDS

    def on_register(self, callback: Callable[[], None]) -> None:
        """Call it whenever the worker has a new id."""
        self._registered.append(callback)

    def on_renewal(self, callback: Callable[[Renewal], None]) -> None:
        """Call it with what each renewal brings back."""
        self._heard.append(callback)

    def seen_by(self, is_seen: Callable[[], bool]) -> None:
        """It tells whether others can see, beside the lease, that we live."""
        self._is_seen = is_seen

    def nudge(self) -> None:
        """Renew now: there may be news."""
        self._nudged.set()

    async def register(self) -> None:
        """Become a worker: a new row, a new id. Raises what connecting raises."""
        at = self._now()
        self._claimant = await self._line.run(
            lambda connection: workers.register(connection, name=self._name, version=self._version)
        )
        self._renewed_at = at
        self._renewed.set()
        log.info("lease.registered", worker=self.claimant.worker_id)
        for callback in self._registered:
            callback()

    async def unregister(self) -> None:
        """Leave in order."""
        await self._line.run(lambda connection: workers.unregister(connection, self.claimant))

    async def run(self) -> None:
        """Renew for ever: every 2 s, when nudged, and again soon after a failure."""
        delays = Backoff(base=0.1, cap=1.0)
        while True:
            self._nudged.clear()
            try:
                await self._renew()
                delays.reset()
                pause = RENEW_SECONDS
            except Exception as error:
                if not passing(error):
                    raise
                self.silence.distrust()
                log.warning("lease.not_renewed", error=told(error), silence=self._silence())
                pause = delays.next()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._nudged.wait()

    async def guard(self) -> None:
        """Give up all model calls, for ever, whenever the lease has not been renewed for too long."""
        while True:
            silence = self._silence()
            if silence < UNSEEN_NO_CALLS_SECONDS:
                await self._sleep(UNSEEN_NO_CALLS_SECONDS - silence)
                continue
            if silence < NO_CALLS_SECONDS and self._is_seen():
                await self._sleep(LOOK_AGAIN_SECONDS)
                continue
            stalled = self._held_up_seconds > silence / 2
            log.error("lease.fenced", silence=silence, stalled=stalled, held=len(self._holder.held()))
            FENCED.inc()
            self._holder.abandon(stalled=stalled)
            self._renewed.clear()
            await self._renewed.wait()

    async def _sleep(self, seconds: float) -> None:
        """And note for how long this process was held up meanwhile: by a job, or frozen from outside."""
        due_at = self._now() + seconds
        await asyncio.sleep(seconds)
        self._held_up_seconds += max(0.0, self._now() - due_at)

    async def _renew(self) -> None:
        at = self._now()
        with RENEWALS.time():
            renewal = await self._line.run(
                lambda connection: workers.renew(
                    connection,
                    self.claimant,
                    leaving=self.leaving,
                    models=self._holder.models(),
                    hosts=self._holder.hosts(),
                    claims=self._holder.held(),
                )
            )
        if not renewal.alive:
            log.error("lease.lost", worker=self.claimant.worker_id, held=len(self._holder.held()))
            LOST.inc()
            self._holder.lease_lost()
            await self.register()
            self.nudge()
            return
        if not renewal.begun:
            await self._line.run(workers.begin_incarnation)
        self._watch(renewal, at)
        self._renewed_at = at
        self._held_up_seconds = 0.0
        self._renewed.set()
        self.draining = renewal.draining
        self._holder.hear(renewal, at)
        for callback in self._heard:
            callback(renewal)

    def _watch(self, renewal: Renewal, at: float) -> None:
        if at - self._renewed_at > RENEW_SECONDS + CUT_OFF_SECONDS:
            self.silence.distrust()
        counts = [(other.worker_id, (other.incarnation, other.renewals)) for other in renewal.others]
        self.silence.see(counts, server=renewal.server, at=self._now())

    def _silence(self) -> float:
        return self._now() - self._renewed_at

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
