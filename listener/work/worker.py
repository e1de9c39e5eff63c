"""The worker: leases slots, claims as many jobs as it has free ones, runs each as a task, else sleeps.

The order of claims is the database's, what a job does is its task's. Knows when to look; nothing is kept here
that a crash may not lose.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from chassis.database import backoff, passing, told
from listener.model.breaker import UNKNOWN, Caller
from listener.model.hosts import Hosts
from listener.model.rulings import rule
from listener.queue import jobs, workers
from listener.queue.connection import Line
from listener.queue.jobs import Claim, Claimed, Want
from listener.queue.workers import Pulse, Share
from listener.work.attempt import Attempt, Stop, Surroundings
from listener.work.claim_floor import Floors
from listener.work.doorbell import Doorbell
from listener.work.lease import Lease
from listener.work.seats import Seats

POLL_SECONDS = 5.0  # a net under the doorbell
# Until the doorbell's lock is held: who was making a job ready when we asked for it does not ring.
LADDER_SECONDS = (0.01, 0.02, 0.05, 0.1)
LOCKED_SECONDS = 0.02  # after passing by owners whose lock was held
LOCK_TIMEOUT = "50ms"
MARGIN_SECONDS = 30.0  # what has not come to an end so long after its deadline is taken from its task
HAND_BACK_SECONDS = 5.0
SET_ASIDE_SECONDS = 0.5  # so long do others have the first try at a server on trial
TEXT_SECONDS = 1.0  # at a stop: what is done to a text is soon done again, and no model call is lost with it
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
    """`run` until `drain`ed. Hears from the lease (Holder), and from the notices (Ear)."""

    def __init__(self, line: Line, *, hosts: Hosts, around: Surroundings) -> None:
        self._line = line
        self._hosts = hosts
        self._around = around
        self._seats = Seats(hosts, may_begin=lambda: self._lease.may_claim, vacated=self.look)
        self._slots = self._seats.slots
        self._floors = Floors()
        self._running: dict[int, Attempt] = {}
        self._wake = asyncio.Event()
        self._calm = asyncio.Event()
        self._shares: tuple[Share, ...] = ()
        self._strays: frozenset[tuple[int, int]] = frozenset()
        self._suspects: frozenset[tuple[int, int]] = frozenset()
        self._ladder: Iterator[float] = iter(())
        self._delays = backoff(base=0.1, cap=2.0)
        self._closing = False

    def attach(self, lease: Lease, doorbell: Doorbell, *, moved: Callable[[], None]) -> None:
        """The two that need this worker to be made; and who is told that claims have moved a clock."""
        self._lease = lease
        self._doorbell = doorbell
        self._moved = moved

    # As the lease's holder

    def held(self) -> Sequence[tuple[int, int]]:
        """The (job, epoch)s that run here."""
        return [(attempt.claimed.job_id, attempt.claimed.epoch) for attempt in self._running.values()]

    def models(self) -> Sequence[int]:
        """The models that can be reached from here."""
        return self._hosts.models()

    def hosts(self) -> Sequence[int]:
        """The hosts that can."""
        return self._hosts.reachable()

    def hear(self, pulse: Pulse, at: float) -> None:
        """Drop what is not ours any more; note what is to be settled with the database."""
        for job_id, epoch in pulse.lost:
            attempt = self._running.get(job_id)
            if attempt is not None and attempt.claimed.epoch == epoch:
                attempt.stop("lost")
        # Ours, and unknown: its claim's answer was lost. Or it is only just arriving, hence twice.
        self._strays, self._suspects = pulse.strays & self._suspects, pulse.strays
        for share in pulse.shares:
            self._floors.see(share.model_id, share.clock, at=at)
        self._shares = pulse.shares
        self._seats.see(pulse.shares)
        if self._strays or any(self._missing(share) or self._surplus(share) for share in pulse.shares):
            self._wake.set()

    def abandon(self, *, stalled: bool) -> None:
        """The lease is about to end."""
        self._stop_all("stalled" if stalled else "fenced")

    def buried(self) -> None:
        """Others have our jobs and our slots."""
        self._stop_all("lost")
        self._slots.clear()
        self._shares = ()

    # As the notices' ear

    def rung(self) -> None:
        """A job may be ready."""
        self._wake.set()

    def told(self, payload: str) -> None:
        """Something was said about a request, or about models and slots."""
        if payload == "models" or any(str(a.claimed.request_id) == payload for a in self._running.values()):
            self._lease.nudge()

    def reconnected(self) -> None:
        """Notices may have been missed."""
        self._lease.nudge()
        self._wake.set()

    # From the sweeper

    def overdue(self) -> Sequence[Claim]:
        """What runs here far beyond its deadline: its task does not end."""
        longest = self._around.deadline_seconds + MARGIN_SECONDS
        return [attempt.claimed.claim for attempt in self._running.values() if attempt.outstays(longest)]

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
        if not await self._ends_within(grace_seconds):
            self._stop_all("drained")
            if not await self._becomes_calm(HAND_BACK_SECONDS):
                log.error("worker.not_handed_back", jobs=self.held())
                for attempt in self._running.values():
                    attempt.give_up()
        self._closing = True
        self._wake.set()

    async def _ends_within(self, grace_seconds: float) -> bool:
        """Whether all that runs has; work on a text gets no more than its second."""
        now = asyncio.get_running_loop().time
        until = now() + grace_seconds
        while not await self._becomes_calm(min(TEXT_SECONDS, until - now())):
            if now() >= until:
                return False
            for attempt in list(self._running.values()):
                if attempt.text_seconds >= TEXT_SECONDS / 2:
                    attempt.stop("drained")
        return True

    async def _becomes_calm(self, within: float) -> bool:
        self._calm.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._running:
                    await self._calm.wait()
                    self._calm.clear()
        return not self._running

    async def _look(self, group: asyncio.TaskGroup) -> float:
        """One look at the queue; how long to sleep if nothing happens."""
        try:
            await self._settle()
            pause = await self._claim(group)
        except Exception as error:
            if not passing(error):
                raise
            log.warning("worker.cannot_claim", error=told(error))
            return next(self._delays)
        self._delays = backoff(base=0.1, cap=2.0)
        return pause

    async def _settle(self) -> None:
        """Give back strays and slots that are too many, lease those that are missing."""
        strays, self._strays = self._strays, frozenset()
        shares, self._shares = self._shares, ()
        claimant = self._lease.claimant
        if strays := strays - set(self.held()):
            log.warning("worker.strays", jobs=sorted(strays))
            claims = [Claim(job_id, epoch, claimant.worker_id) for job_id, epoch in strays]
            await self._line.run(lambda connection: jobs.release(connection, claims))
        for share in shares:
            await self._settle_share(claimant, share)
        orphans = [
            key
            for model in self._slots.models()
            for key in self._slots.idle(model)
            if key.host_id not in self._hosts.serving(model)
        ]
        if orphans:
            await self._give_back(claimant, orphans)
        self._seats.settle()

    async def _settle_share(self, claimant: jobs.Claimant, share: Share) -> None:
        if surplus := self._surplus(share):
            await self._give_back(claimant, self._slots.idle(share.model_id)[:surplus])
        elif missing := self._missing(share):
            hosts = self._hosts.serving(share.model_id)
            leased = await self._line.run(
                lambda connection: workers.lease_slots(
                    connection, claimant, model_id=share.model_id, hosts=hosts, most=missing
                )
            )
            self._slots.add(leased)

    async def _give_back(self, claimant: jobs.Claimant, keys: list[workers.SlotKey]) -> None:
        self._slots.remove(keys)  # first: nothing may begin on them
        await self._line.run(lambda connection: workers.give_back_slots(connection, claimant, keys))

    def _missing(self, share: Share) -> int:
        if not self._lease.may_claim or not self._hosts.serving(share.model_id):
            return 0
        return max(0, min(share.fair - self._slots.held(share.model_id), share.unleased))

    def _surplus(self, share: Share) -> int:
        due = share.fair if self._lease.may_claim else 0
        surplus = self._slots.held(share.model_id) - due
        return max(0, min(surplus, len(self._slots.idle(share.model_id))))

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
        # A host on trial takes one call in all, and each of its models asks for one: none must wait until
        # another has a job. Should two be claimed, `_start` hands one back.
        trials = sum(min(1, self._slots.free(model, [host])) for host in self._hosts.on_trial(model))
        free = self._slots.free(model, self._hosts.trusted(model)) + trials
        return max(0, min(free, self._room(model)))

    def _room(self, model: int) -> int:
        """How many jobs of the model may still be here: results that cannot be written must not pile up."""
        here = sum(attempt.claimed.model_id == model for attempt in self._running.values())
        return JOBS_PER_SLOT * self._slots.held(model) - here

    def _wants(self, now: float) -> list[Want]:
        """So many jobs as slots are free, and those that will soon be."""
        if not self._lease.may_claim:
            return []
        wanted = {model: self._wanted_of(model) for model in self._hosts.models()}
        wanted = {model: count for model, count in wanted.items() if count}
        floors = self._floors.floors(wanted, at=now)
        return [Want(model, count, floors[model]) for model, count in wanted.items()]

    def _wanted_of(self, model: int) -> int:
        return max(0, min(self._free_of(model) + self._seats.ahead(model), self._room(model)))

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
        deadline = self._around.deadline_seconds + MARGIN_SECONDS
        return await self._line.run(
            lambda connection: jobs.claim(
                connection, self._lease.claimant, wants, deadline_seconds=deadline, around=around
            )
        )

    async def _start(self, group: asyncio.TaskGroup, job: Claimed) -> None:
        PICKUP.observe(job.waited_seconds)
        self._floors.see(job.model_id, job.reached, at=asyncio.get_running_loop().time())
        caller = Caller(job.owner, job.request_id)
        if self._seats.prefers_another(job.model_id, caller):
            await self._set_aside(job)
            return
        seat = self._seats.take(job.model_id, caller)
        if seat is None:  # its host has gone, or its calls have become long, while we claimed
            await self._line.run(lambda connection: jobs.release(connection, [job.claim]))
            return
        attempt = Attempt(job, seat, self._around)
        self._running[job.job_id] = attempt
        group.create_task(self._run(attempt), name=f"job-{job.job_id}-{job.epoch}")

    async def _set_aside(self, job: Claimed) -> None:
        """Not handed back, which would put it before all others again: these are to have their turn."""
        resting = rule("model_resting")
        await self._line.run(
            lambda connection: jobs.back_off(
                connection,
                job.claim,
                seconds=SET_ASIDE_SECONDS,
                counted=False,
                code=resting.code,
                message=resting.message,
            )
        )
        self._around.expect(SET_ASIDE_SECONDS)

    async def _run(self, attempt: Attempt) -> None:
        try:
            await attempt.run()
        finally:
            if self._room(attempt.claimed.model_id) <= 0:
                self._wake.set()
            if self._running.get(attempt.claimed.job_id) is attempt:
                del self._running[attempt.claimed.job_id]
            attempt.seat.leave(UNKNOWN)
            self._calm.set()

    def _stop_all(self, why: Stop) -> None:
        for attempt in list(self._running.values()):
            attempt.stop(why)
