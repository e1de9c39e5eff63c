"""The states of the queue in plain Python: what each statement does to jobs, workers and slots.

Knows no database; which of several ready jobs a claim takes is told to it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from listener.queue.jobs import Claimant
from listener.queue.slots import SlotKey

Outcome = Literal["done", "failed", "cancelled", "retried", "released", "rescued"]
Lease = Literal["fresh", "silent", "ended", "fenced"]
FINAL = ("done", "failed", "cancelled")


@dataclass
class Job:
    """A root job, with its request's result."""

    id: int
    request: str
    owner: str
    model: int
    priority: int
    scheduled: bool
    state: str = "ready"
    epoch: int = 0
    attempts: int = 0
    worker: int | None = None
    progress: float = 0
    error: str | None = None
    started: bool = False
    result: tuple[int, str] | None = None

    def row(self) -> list[Any]:
        """As `queue_ground` reads it."""
        return [self.id, self.state, self.epoch, self.attempts, self.worker, self.priority, self.scheduled,
                self.progress, self.error, self.started, self.state in FINAL]  # fmt: skip


@dataclass
class Worker:
    """A worker's row. It is the one that registered as long as its incarnation is the first."""

    id: int
    incarnation: int = 1
    lease: Lease = "fresh"
    draining: bool = False
    serves: bool = False
    lives: bool = True  # its process holds the session lock


@dataclass
class Actor:
    """A worker's process: what it believes it holds. Others may know better."""

    claimant: Claimant
    slots: set[SlotKey] = field(default_factory=set)
    held: dict[tuple[int, int], int] = field(default_factory=dict)  # (job, epoch): model

    @property
    def id(self) -> int:
        return self.claimant.worker_id

    def idle(self, model: int) -> list[SlotKey]:
        """Slots that none of its jobs needs."""
        mine = sorted((key for key in self.slots if key.model_id == model), key=lambda key: key.host_id)
        return mine[sum(held == model for held in self.held.values()) :]


@dataclass
class States:
    """All rows. Every method is a statement, or what a person does."""

    max_attempts: int
    batch: int
    jobs: dict[int, Job] = field(default_factory=dict)
    workers: dict[int, Worker] = field(default_factory=dict)
    slots: dict[SlotKey, tuple[int, int] | None] = field(default_factory=dict)
    attempts: dict[tuple[int, int], tuple[Outcome, str | None, int]] = field(default_factory=dict)
    partials: set[tuple[str, int, int]] = field(default_factory=set)
    paused: set[int | None] = field(default_factory=set)  # models; None is the whole queue

    # What is so

    def owned(self, job_id: int, epoch: int) -> Job | None:
        """The job, if that claim still holds it."""
        job = self.jobs.get(job_id)
        return job if job and job.epoch == epoch and job.state == "running" else None

    def running(self, worker: int) -> list[Job]:
        return [job for job in self.jobs.values() if job.worker == worker]

    def registered(self, worker: int) -> Worker | None:
        """The worker's row, unless somebody has fenced it."""
        row = self.workers.get(worker)
        return row if row and row.incarnation == 1 else None

    def may_take(self, worker: int) -> bool:
        row = self.registered(worker)
        return row is not None and not row.draining

    def leased(self, worker: int) -> set[SlotKey]:
        return {key for key, holder in self.slots.items() if holder == (worker, 1)}

    def unleased(self, model: int) -> list[SlotKey]:
        """Slots that nobody holds, or whose worker is gone, in the order in which they are leased."""
        held = {(row.id, row.incarnation) for row in self.workers.values()}
        free = [key for key, holder in self.slots.items() if key.model_id == model and holder not in held]
        return sorted(free, key=lambda key: (key.n, key.host_id))

    def is_paused(self, model: int) -> bool:
        return model in self.paused or None in self.paused

    def ready(self, model: int) -> int:
        return sum(j.state == "ready" and not j.scheduled and j.model == model for j in self.jobs.values())

    # Workers' statements

    def lease_slots(self, worker: int, model: int, most: int) -> list[SlotKey]:
        taken = self.unleased(model)[:most] if self.may_take(worker) else []
        self.slots |= dict.fromkeys(taken, (worker, 1))
        return taken

    def give_back(self, worker: int, keys: Iterable[SlotKey]) -> None:
        self.slots |= dict.fromkeys(self.leased(worker) & set(keys), None)

    def claimable(self, worker: int, model: int, free: int) -> int:
        """How many jobs of the model the worker gets."""
        if self.is_paused(model) or not self.may_take(worker):
            return 0
        leased = sum(key.model_id == model for key in self.leased(worker))
        return min(free, leased, self.ready(model))

    def claim(self, worker: int, job_id: int) -> Job:
        job = self.jobs[job_id]
        assert job.state == "ready"
        assert not job.scheduled
        job.state, job.worker, job.progress, job.error, job.started = "running", worker, 0, None, True
        job.epoch += 1
        job.attempts += 1
        return job

    def finish(self, job_id: int, epoch: int, body: str) -> bool:
        if job := self.owned(job_id, epoch):
            job.result, job.progress = (epoch, body), 1
            self._forget_text(job)
            self._end(job, "done", "done")
        finished = self.jobs.get(job_id)
        return finished is not None and finished.result is not None and finished.result[0] == epoch

    def fail(self, job_id: int, epoch: int, code: str) -> bool:
        if job := self.owned(job_id, epoch):
            self._forget_text(job)
            self._end(job, "failed", "failed", code)
        return job is not None

    def back_off(self, job_id: int, epoch: int, code: str, *, counted: bool) -> bool:
        if job := self.owned(job_id, epoch):
            job.attempts -= not counted
            job.scheduled, job.progress = True, 0
            self._end(job, "ready", "retried", code)
        return job is not None

    def release(self, job_id: int, epoch: int) -> bool:
        if job := self.owned(job_id, epoch):
            job.attempts -= 1
            job.progress = 0
            self._end(job, "ready", "released")
        return job is not None

    def write_partial(self, job_id: int, epoch: int, n: int, progress: float) -> None:
        if job := self.owned(job_id, epoch):
            job.progress = progress
            self.partials.add((job.request, epoch, n))

    def unregister(self, worker: int) -> None:
        self.slots |= {key: None for key, holder in self.slots.items() if holder and holder[0] == worker}
        if row := self.workers.get(worker):
            row.incarnation += 1
            row.lease, row.draining = "fenced", True
            if not self.running(worker):
                del self.workers[worker]

    # Sweeps: one batch each

    def rescue(self) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
        """Jobs queued again and failed, workers fenced and forgotten."""
        gone = [row for row in self.workers.values() if self._is_gone(row)]
        lost = [job for row in gone for job in self._first(self.running(row.id))]
        forgotten = [row.id for row in gone if row.lease == "fenced" and not self.running(row.id)]
        fenced = [row for row in gone if row.lease != "fenced"]
        for job in lost:
            if self.workers[job.worker or 0].draining:
                job.attempts, job.progress = job.attempts - 1, 0
                self._end(job, "ready", "rescued", "worker_lost")
                continue
            job.scheduled = job.attempts > 1 and job.attempts < self.max_attempts
            self._take_back(job, "rescued", "worker_lost")
        for row in fenced:
            row.lease, row.incarnation = "fenced", row.incarnation + 1
        for worker in forgotten:
            del self.workers[worker]
        failed = sum(job.state == "failed" for job in lost)
        return len(lost) - failed, failed, tuple(row.id for row in fenced), tuple(forgotten)

    def requeue_overdue(self, late: Iterable[Job]) -> tuple[int, int]:
        """Queued again, failed."""
        hung = list(late)
        for job in hung:
            self._take_back(job, "retried", "deadline_exceeded")
        failed = sum(job.state == "failed" for job in hung)
        return len(hung) - failed, failed

    def ready_due(self, due: Iterable[Job]) -> int:
        moved = self._first(due)
        for job in moved:
            job.scheduled = False
        return len(moved)

    def prune_partials(self) -> None:
        current = {(job.request, job.epoch) for job in self.jobs.values() if job.state == "running"}
        self.partials = {piece for piece in self.partials if piece[:2] in current}

    # What a person does; the code it is refused with

    def cancel(self, job: Job) -> str:
        if job.state in ("done", "failed"):
            return "already_finished"
        if job.state != "cancelled":
            self._forget_text(job)
            self._end(job, "cancelled", "cancelled", job.error)
        return ""

    def retry(self, job: Job) -> str:
        if job.state not in ("failed", "cancelled"):
            return "not_failed"
        job.state, job.attempts, job.scheduled, job.progress = "ready", 0, False, 0
        job.error, job.started = None, False
        return ""

    def change(self, job: Job, priority: int, *, later: bool) -> str:
        """Another priority; and to an hour from now, or to now."""
        if job.state == "ready":
            job.priority, job.scheduled = priority, later
            return ""
        return "not_queued" if later or job.scheduled or priority != job.priority else ""

    def delete(self, job: Job) -> str:
        self._forget_text(job)
        self.attempts = {claim: ended for claim, ended in self.attempts.items() if claim[0] != job.id}
        del self.jobs[job.id]
        return ""

    def _is_gone(self, row: Worker) -> bool:
        return row.lease in ("ended", "fenced") or (row.lease == "silent" and not row.lives)

    def _first(self, jobs: Iterable[Job]) -> list[Job]:
        return list(jobs)[: self.batch]

    def _take_back(self, job: Job, outcome: Outcome, code: str) -> None:
        job.progress = 0
        if job.attempts >= self.max_attempts:
            self._end(job, "failed", "failed", code)
        else:
            self._end(job, "ready", outcome, code)

    def _end(self, job: Job, state: str, outcome: Outcome, code: str | None = None) -> None:
        if job.worker is not None:
            assert (job.id, job.epoch) not in self.attempts
            self.attempts[job.id, job.epoch] = (outcome, code, job.worker)
        job.state, job.worker, job.error = state, None, code

    def _forget_text(self, job: Job) -> None:
        self.partials = {piece for piece in self.partials if piece[0] != job.request}
