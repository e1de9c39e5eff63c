"""The claim loop: claims as many jobs as slots are free, runs each as a task, else sleeps.

The order of claims is the database's, what a job does is its task's. Knows when to look; nothing is kept here
that a crash may not lose.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from chassis.backoff import Backoff
from chassis.database import passing, told
from listener.model.breaker import UNKNOWN, Caller
from listener.model.hosts import Hosts
from listener.model.rulings import rule
from listener.queue import jobs
from listener.queue.connection import KeptConnection
from listener.queue.jobs import Claim, Claimed, Want
from listener.queue.workers import Renewal
from listener.work.attempt import Attempt, AttemptContext
from listener.work.claim_floor import ClaimFloors
from listener.work.doorbell import Doorbell
from listener.work.lease import Lease
from listener.work.notices import Control
from listener.work.running import Running
from listener.work.slot_leases import SlotLeases
from listener.work.slots import Slots

POLL_SECONDS = 5.0  # a net under the doorbell
# Until the doorbell's lock is held: who was making a job ready when we asked for it does not ring.
LADDER_SECONDS = (0.01, 0.02, 0.05, 0.1)
LOCKED_SECONDS = 0.02  # after passing by owners whose lock was held
LOCK_TIMEOUT = "50ms"
MARGIN_SECONDS = 30.0  # what has not come to an end so long after its deadline is taken from its task
SET_ASIDE_SECONDS = 0.5  # so long do others have the first try at a server on trial
JOBS_PER_SLOT = 2  # one that calls the model, and one that waits to, or whose outcome is being written

CLAIMS = Counter("precis_claims_total", "Claims, by whether they found jobs.", ["found"])
CLAIMED = Counter("precis_claimed_jobs_total", "Jobs claimed.")
PICKUP = Histogram(
    "precis_pickup_seconds",
    "From when a job became ready to its claim.",
    buckets=(0.001, 0.002, 0.003, 0.005, 0.01, 0.03, 0.1, 0.3, 1, 10, 100, 1000),
)

log = structlog.get_logger()


class Worker:
    """`run` until `drain`ed. Hears from the lease (Holder), and from the notices (NoticeHandler)."""

    def __init__(self, connection: KeptConnection, *, hosts: Hosts, context: AttemptContext) -> None:
        self._connection = connection
        self._hosts = hosts
        self._context = context
        self._slots = Slots(hosts, may_begin=self._may_claim, vacated=self.look)
        self._leases = SlotLeases(connection, hosts, self._slots, may_claim=self._may_claim)
        self._running = Running()
        self._floors = ClaimFloors()
        self._wake = asyncio.Event()
        self._unknown_claims: frozenset[tuple[int, int]] = frozenset()
        self._seen_once: frozenset[tuple[int, int]] = frozenset()
        self._ladder: Iterator[float] = iter(())
        self._delays = Backoff(base=0.1, cap=2.0)
        self._closing = False

    def attach(self, lease: Lease, doorbell: Doorbell, *, moved: Callable[[], None]) -> None:
        """The two that need this worker to be made; and who is told that claims have moved a clock."""
        self._lease = lease
        self._doorbell = doorbell
        self._moved = moved

    def _may_claim(self) -> bool:
        return self._lease.may_claim

    # As the lease's holder

    def held(self) -> Sequence[tuple[int, int]]:
        """The (job, epoch)s that run here."""
        return self._running.held()

    def models(self) -> Sequence[int]:
        """The models that can be reached from here."""
        return self._hosts.models()

    def hosts(self) -> Sequence[int]:
        """The hosts that can."""
        return self._hosts.reachable()

    def hear(self, renewal: Renewal, at: float) -> None:
        """Drop what is not ours any more; note what is to be settled with the database."""
        for job_id, epoch in renewal.lost:
            self._running.stop(job_id, epoch, "lost")
        # Ours, and unknown: its claim's answer was lost. Or it is only just arriving, hence twice.
        unknown = renewal.unknown_claims
        self._unknown_claims, self._seen_once = unknown & self._seen_once, unknown
        for share in renewal.shares:
            self._floors.see(share.model_id, share.clock, at=at)
        if self._leases.see(renewal.shares) or self._unknown_claims:
            self._wake.set()

    def abandon(self, *, stalled: bool) -> None:
        """The lease is about to end."""
        self._running.stop_all("stalled" if stalled else "fenced")

    def lease_lost(self) -> None:
        """Others have our jobs and our slots."""
        self._running.stop_all("lost")
        self._leases.lost()

    # As the notices' handler

    def on_bell(self) -> None:
        """A job may be ready."""
        self._wake.set()

    def on_control(self, about: Control) -> None:
        """A request, or models and slots, have changed."""
        if about == "models" or self._running.has_request(about):
            self._lease.nudge()

    def reconnected(self) -> None:
        """Notices may have been missed."""
        self._lease.nudge()
        self._wake.set()

    # From the sweeper

    def overdue(self) -> Sequence[Claim]:
        """What runs here far beyond its deadline: its task does not end."""
        return self._running.outstaying(self._deadline_seconds)

    # From hosts and doorbell

    def look(self) -> None:
        """Something has changed here: a host came or went, the doorbell hangs or has fallen off."""
        self._wake.set()

    async def run(self) -> None:
        """Claim and run jobs, until drained."""
        async with asyncio.TaskGroup() as group:
            while not self._closing:
                self._wake.clear()
                pause = await self._look(group)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()

    async def drain(self, grace_seconds: float) -> None:
        """No new claims; what runs may end within the grace, then it is handed back, uncounted."""
        self._lease.leaving = True
        self._lease.nudge()
        self._wake.set()
        log.info("worker.draining", running=len(self._running))
        await self._running.drain(grace_seconds)
        self._closing = True
        self._wake.set()

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """One look at the queue; how long to sleep if nothing happens."""
        try:
            await self._hand_back_unknown()
            await self._leases.settle(self._lease.claimant)
            pause = await self._claim(group)
        except Exception as error:
            if not passing(error):
                raise
            log.warning("worker.cannot_claim", error=told(error))
            return self._delays.next()
        self._delays.reset()
        return pause

    async def _hand_back_unknown(self) -> None:
        """What the database says we run, and we do not."""
        found, self._unknown_claims = self._unknown_claims, frozenset()
        if found := found - set(self.held()):
            log.warning("worker.unknown_claims", jobs=sorted(found))
            worker_id = self._lease.claimant.worker_id
            claims = [Claim(job_id, epoch, worker_id) for job_id, epoch in found]
            await self._connection.run(lambda connection: jobs.release(connection, claims))

    async def _claim(self, group: asyncio.TaskGroup) -> float:
        now = asyncio.get_running_loop().time()
        wants = self._wants(now)
        if not wants:
            self._rest()
            return POLL_SECONDS
        claimed, complete = await self._take(wants)
        self._floors.answered(in_full=len(claimed) >= sum(want.free for want in wants))
        for job in claimed:
            await self._start(group, job)
        if not self._has_free():
            self._rest()
            return POLL_SECONDS
        if not complete:
            return LOCKED_SECONDS
        self._doorbell.want()
        if not self._doorbell.ringing:
            return next(self._ladder, LADDER_SECONDS[-1])
        self._ladder = iter(LADDER_SECONDS)
        floored = any(want.floor != jobs.LOWEST_TAG for want in wants)
        return max(0.0, self._floors.due_at - now) if floored else POLL_SECONDS

    def _rest(self) -> None:
        self._doorbell.rest()
        self._ladder = iter(LADDER_SECONDS)

    def _has_free(self) -> bool:
        return self._lease.may_claim and any(self._free_of(model) for model in self._hosts.models())

    def _free_of(self, model: int) -> int:
        return max(0, min(self._slots.free(model), self._room(model)))

    def _room(self, model: int) -> int:
        """How many jobs of the model may still be here: results that cannot be written must not pile up."""
        return JOBS_PER_SLOT * self._slots.leased.held(model) - self._running.of_model(model)

    def _wants(self, now: float) -> list[Want]:
        """So many jobs as slots are free, and those that will soon be."""
        if not self._lease.may_claim:
            return []
        wanted = {model: self._wanted_of(model) for model in self._hosts.models()}
        wanted = {model: count for model, count in wanted.items() if count}
        floors = self._floors.floors(wanted, at=now)
        return [Want(model, count, floors[model]) for model, count in wanted.items()]

    def _wanted_of(self, model: int) -> int:
        return max(0, min(self._free_of(model) + self._slots.ahead(model), self._room(model)))

    async def _take(self, wants: Sequence[Want]) -> tuple[list[Claimed], bool]:
        """The jobs claimed, and whether all owners' jobs were looked at."""
        complete = True
        claimed: list[Claimed] = []
        try:
            claimed = await self._ask(wants, around=False)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            # Somebody's own transaction is in the way of their own job: nobody else's waits for that.
            complete = False
            with contextlib.suppress(asyncpg.LockNotAvailableError):
                claimed = await self._ask(wants, around=True)
        CLAIMS.labels("yes" if claimed else "no").inc()
        CLAIMED.inc(len(claimed))
        if claimed:
            self._moved()
        return claimed, complete

    async def _ask(self, wants: Sequence[Want], *, around: bool) -> list[Claimed]:
        return await self._connection.run(
            lambda connection: jobs.claim(
                connection,
                self._lease.claimant,
                wants,
                deadline_seconds=self._deadline_seconds,
                around=around,
            )
        )

    async def _start(self, group: asyncio.TaskGroup, job: Claimed) -> None:
        PICKUP.observe(job.waited_seconds)
        self._floors.see(job.model_id, job.reached, at=asyncio.get_running_loop().time())
        caller = Caller(job.owner, job.request_id)
        if self._slots.prefers_another(job.model_id, caller):
            await self._set_aside(job)
            return
        permit = self._slots.take(job.model_id, caller)
        if permit is None:  # its host has gone, or its calls have become long, while we claimed
            await self._connection.run(lambda connection: jobs.release(connection, [job.claim]))
            return
        attempt = Attempt(job, permit, self._context)
        self._running.add(attempt)
        group.create_task(self._run(attempt), name=f"job-{job.job_id}-{job.epoch}")

    async def _set_aside(self, job: Claimed) -> None:
        """Not handed back, which would put it before all others again: these are to have their turn."""
        resting = rule("model_resting")
        await self._connection.run(
            lambda connection: jobs.back_off(
                connection,
                job.claim,
                seconds=SET_ASIDE_SECONDS,
                counted=False,
                code=resting.code,
                message=resting.message,
            )
        )
        self._context.expect(SET_ASIDE_SECONDS)

    async def _run(self, attempt: Attempt) -> None:
        try:
            await self._running.run(attempt)
        finally:
            attempt.permit.leave(UNKNOWN)
            if self._room(attempt.claimed.model_id) <= 1:  # there was none
                self._wake.set()

    @property
    def _deadline_seconds(self) -> float:
        return self._context.deadline_seconds + MARGIN_SECONDS
