"""Neighbours at the queue: Anna does whatever she may with many rows, Carl keeps the clock moving, Ben sends
one row at a time. And what is promised to Ben, asked after each claim.

Claims, sweeps and endings are the listener's own statements; a transaction of Anna's may be held open.
"""

import contextlib
from collections.abc import Sequence
from typing import LiteralString

import asyncpg

from listener.queue import jobs, rescue, workers
from listener.queue.jobs import LOWEST_TAG, Claimant, Claimed, Finished, Want
from listener.queue.silence import Suspect
from listener.queue.slots import lease_slots
from tests.listener.queue.queue_ground import HOSTS, SLOTS, Ground
from tests.sql.acting import allow, sign_up

ALL_SLOTS = HOSTS * SLOTS  # of one model
INSERT: LiteralString = (
    "insert into public.requests (task, text, model, priority, run_at) select 'summarize', 'Text.', %s, %s,"
    " case when %s then now() + interval '1 hour' end from generate_series(1, %s)"
)
WAITS: LiteralString = "select request_id::text from private.job where owner = %s and state = 'ready'"
SOON: LiteralString = "update private.job set run_at = now() - interval '1 s' where run_at is not null"
# What she may do to all of her rows at once.
CHANGES: dict[str, LiteralString] = {
    "raise": "update public.requests set priority = 1 where state = 'queued'",
    "lower": "update public.requests set priority = -1 where state = 'queued'",
    "to the past": "update public.requests set run_at = '2020-01-01' where state = 'queued'",
    "later": "update public.requests set run_at = now() + interval '1 hour' where state = 'queued'",
    "rename": "update public.requests set title = 'New ' || random() where state = 'queued'",
    "cancel": "select public.cancel(id) from public.requests where state in ('queued', 'running')",
    "retry": "select public.retry(id) from public.requests where state in ('failed', 'cancelled')",
    "delete": "delete from public.requests where id in (select id from public.requests limit 3)",
}


class Neighbours:
    """Each method is a step; it does nothing where it cannot be done."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        ground.empty()
        self.ground = ground
        self.anna, self.ben = ground.owners
        self.carl = str(sign_up(ground.database))
        for person in (self.anna, self.ben, self.carl):
            allow(ground.database, person)  # no quota: a refusal would come and go with the time of day
        self.model = ground.models[0]
        self.running: list[Claimed] = []
        self.row: str | None = None  # Ben's, as long as it waits
        self.ahead: list[int] = []  # Anna's jobs that were begun meanwhile
        self.is_held = False
        ground.run(ground.worker.execute("set lock_timeout = '20ms'"))
        self.claimant = self._register()

    def close(self) -> None:
        self.let_go(commit=False)

    # People

    def insert(self, rows: int, priority: int, later: bool) -> None:
        self._act(self.anna, INSERT, self._name, priority, later, rows)

    def change(self, how: str) -> None:
        self._act(self.anna, CHANGES[how])

    def hold(self, how: str | None, rows: int) -> None:
        """Anna does something, an insert if it is None, and does not commit."""
        if not self.is_held:
            self.ground.person.execute("begin")
            self.change(how) if how else self.insert(rows, 0, later=False)
            self.is_held = True

    def let_go(self, *, commit: bool) -> None:
        if self.is_held:
            self.ground.person.execute("commit" if commit else "rollback")
        self.is_held = False

    def others(self, rows: int) -> None:
        self._act_beside(self.carl, INSERT, self._name, 0, False, rows)

    def newcomer(self) -> None:
        """Ben sends a row, if he has none that waits."""
        if not self.ground.query(WAITS, self.ben):
            self._act_beside(self.ben, INSERT, self._name, 0, False, 1)
            ((self.row,),) = self.ground.query(WAITS, self.ben)
            self.ahead = []

    # Workers

    def claim(self, most: int, floored: bool) -> None:
        floor = self.ground.clock(self.model) - jobs.FLOOR_MARGIN if floored else LOWEST_TAG
        want = Want(self.model, min(most, ALL_SLOTS - len(self.running)), floor)
        try:
            claimed = self._claim(want, around=False)
        except asyncpg.LockNotAvailableError:
            claimed = self._claim(want, around=True)
        self.running += claimed
        self._judge(claimed)

    def end(self, which: int, how: str) -> None:
        """One that runs; not if its owner's transaction is in the way."""
        if not self.running:
            return
        job = self.running[which % len(self.running)]
        connection = self.ground.worker
        with contextlib.suppress(asyncpg.LockNotAvailableError):
            if how == "finish":
                self.ground.run(jobs.finish(connection, [Finished(job.claim, "Short.", "{}", "{}")]))
            elif how == "release":
                self.ground.run(jobs.release(connection, [job.claim]))
            else:
                self.ground.run(
                    jobs.back_off(connection, job.claim, seconds=60, counted=False, code="x", message="y")
                )
            self.running.remove(job)

    def die(self) -> None:
        """The worker; what it ran is taken back, by and by, and there is a new one."""
        worker = self.claimant.worker_id
        ((renewals,),) = self.ground.query("select renewals from private.worker where id = %s", worker)
        silent = [Suspect(worker, self.claimant.incarnation, renewals, lapsed=True)]
        for _ in range(2):
            self.ground.run(rescue.rescue(self.ground.worker, silent, max_attempts=9))
        self.ground.query("update private.slot set worker_id = null, incarnation = null")
        self.running = []
        if self.ground.query("select from private.worker where id = %s", worker):
            self.ground.query("update private.worker set lease_until = '-infinity' where id = %s", worker)
        self.claimant = self._register()

    def fall_due(self) -> None:
        with contextlib.suppress(asyncpg.LockNotAvailableError):
            if not self.is_held:
                self.ground.query(SOON)
            self.ground.run(rescue.ready_due(self.ground.worker))

    def lift(self) -> None:
        with contextlib.suppress(asyncpg.LockNotAvailableError):
            self.ground.run(rescue.lift(self.ground.worker))

    # What is promised

    def _judge(self, claimed: Sequence[Claimed]) -> None:
        if self.row is None:
            return
        owners = dict(
            self.ground.query(
                "select id, owner::text from private.job where id = any (%s)", [job.job_id for job in claimed]
            )
        )
        self.ahead += [job for job, owner in owners.items() if owner == self.anna]
        if self.row in {str(job.request_id) for job in claimed}:
            self.row = None
        assert len(self.ahead) <= ALL_SLOTS + 1, "begun before a newcomer's row"

    @property
    def _name(self) -> str:
        return self.ground.names[self.model]

    def _act(self, owner: str, sql: LiteralString, *arguments: object) -> None:
        if not self.is_held:
            refused, _ = self.ground.act(owner, sql, *arguments)
            assert refused == ""

    def _act_beside(self, owner: str, sql: LiteralString, *arguments: object) -> None:
        """While Anna's transaction is open."""
        refused, _ = self.ground.act(owner, sql, *arguments, beside=True)
        assert refused == ""

    def _claim(self, want: Want, *, around: bool) -> list[Claimed]:
        return self.ground.run(
            jobs.claim(self.ground.worker, self.claimant, [want], deadline_seconds=3600, around=around)
        )

    def _register(self) -> Claimant:
        ground = self.ground
        claimant = ground.run(workers.register(ground.worker, name="fair", version="0"))
        ground.query(
            "update private.worker set lease_until = now() + interval '1 hour' where id = %s",
            claimant.worker_id,
        )
        hosts = [key.host_id for key in ground.slots]
        leased = ground.run(
            lease_slots(ground.worker, claimant, model_id=self.model, hosts=hosts, most=ALL_SLOTS)
        )
        assert len(leased) == ALL_SLOTS
        return claimant
