"""What may happen to the queue, one step at a time, to the database and to the model of it at once.

Every answer is compared with the model's. Several workers on one connection: each statement is one step. Time
is moved by changing rows.
"""

from collections.abc import Iterable
from typing import TypeVar

from listener.queue import jobs, rescue, workers
from listener.queue.jobs import FLOOR_MARGIN, LOWEST_TAG, Claim, Finished, PartialText, Progress, Want
from listener.queue.silence import Suspect
from listener.queue.slots import give_back_slots, lease_slots
from tests.listener.queue.queue_ground import HOSTS, SLOTS, Ground
from tests.listener.queue.queue_states import Actor, Job, Lease, States, Worker

MAX_ATTEMPTS = 3
SMALL_BATCH = 2  # of sweeps, so that they leave something for the next one
MOST_WORKERS = 4
WAYS = ("finish", "fail", "back_off", "back_off_uncounted", "release", "partial")  # to write for a claim

T = TypeVar("T")


class NothingThereError(LookupError):
    """There is nothing that the step could be done to."""


def pick(things: Iterable[T], which: int) -> T:
    """That one, counted round."""
    found = list(things)
    if not found:
        raise NothingThereError
    return found[which % len(found)]


class Steps:
    """Each method is one step. Numbers say who or which, counted round."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        ground.empty()
        self.ground = ground
        self.states = States(MAX_ATTEMPTS, SMALL_BATCH, slots=dict.fromkeys(ground.slots))
        self.actors: list[Actor] = []
        self.claims: list[Claim] = []  # all that there ever were
        self.pieces = 0

    # What is there

    def jobs(self) -> list[Job]:
        return list(self.states.jobs.values())

    def query(self, sql: str, *arguments: object) -> None:
        self.ground.root.execute(sql, arguments)

    # People

    def ask(self, who: int, which: int, priority: int, later: bool) -> None:
        owner, model = pick(self.ground.owners, who), pick(self.ground.models, which)
        refused, rows = self.ground.act(
            owner,
            "insert into public.requests (task, text, model, priority, run_at)"
            " values ('summarize', 'Text.', %s, %s, case when %s then now() + interval '1 hour' end)"
            " returning id",
            self.ground.names[model], priority, later,
        )  # fmt: skip
        assert refused == ""
        ((job_id,),) = self.ground.query("select id from private.job where request_id = %s", rows[0][0])
        self.states.jobs[job_id] = Job(job_id, str(rows[0][0]), owner, model, priority, later)

    def wear_out(self, which: int) -> None:
        """It has been tried almost as often as may be."""
        job = pick((job for job in self.jobs() if job.state == "ready"), which)
        self.query("update private.job set attempts = %s where id = %s", MAX_ATTEMPTS - 1, job.id)
        job.attempts = MAX_ATTEMPTS - 1

    def cancel(self, which: int) -> None:
        job = pick(self.jobs(), which)
        refused, _ = self.ground.act(job.owner, "select from public.cancel(%s)", job.request)
        assert refused == self.states.cancel(job)

    def retry(self, which: int) -> None:
        job = pick(self.jobs(), which)
        refused, _ = self.ground.act(job.owner, "select from public.retry(%s)", job.request)
        assert refused == self.states.retry(job)

    def change(self, which: int, priority: int, later: bool) -> None:
        job = pick(self.jobs(), which)
        refused, _ = self.ground.act(
            job.owner,
            "update public.requests set priority = %s,"
            " run_at = case when %s then now() + interval '1 hour' end where id = %s",
            priority, later, job.request,
        )  # fmt: skip
        assert refused == self.states.change(job, priority, later=later)

    def delete(self, which: int) -> None:
        job = pick(self.jobs(), which)
        refused, _ = self.ground.act(job.owner, "delete from public.requests where id = %s", job.request)
        assert refused == self.states.delete(job)

    # Operators

    def pause_or_resume(self, which: int | None, pause: bool) -> None:
        model = None if which is None else pick(self.ground.models, which)
        name = None if model is None else self.ground.names[model]
        self.query(f"select private.{'pause' if pause else 'resume'}(%s)", name)
        (self.states.paused.add if pause else self.states.paused.discard)(model)

    def drain(self, which: int, on: bool) -> None:
        row = pick(self.states.workers.values(), which)
        self.query("select private.drain(%s, %s)", row.id, on)
        row.draining = on

    # Workers

    def register(self) -> None:
        """One more worker, which leases what it gets."""
        if len(self.actors) < MOST_WORKERS:
            self.actors.append(self._registered())
            for model in range(len(self.ground.models)):
                self.lease_slots(-1, model, 1)

    def _registered(self) -> Actor:
        claimant = self.ground.run(workers.register(self.ground.worker, name="model", version="0"))
        self.states.workers[claimant.worker_id] = Worker(claimant.worker_id)
        self.ground.show_life(claimant.worker_id, lives=True)
        return Actor(claimant)

    def _suspects(self) -> list[Suspect]:
        """Who is silent for long enough, as somebody has seen it who looked on."""
        silent = {
            row.id: row.lease for row in self.states.workers.values() if row.lease in ("silent", "ended")
        }
        rows = self.ground.query("select id, incarnation, renewals from private.worker order by id")
        return [Suspect(*row, lapsed=silent[row[0]] == "ended") for row in rows if row[0] in silent]

    def lease_slots(self, who: int, which: int, most: int) -> None:
        actor, model = pick(self.actors, who), pick(self.ground.models, which)
        hosts = [key.host_id for key in self.ground.slots]
        leased = self.ground.run(
            lease_slots(self.ground.worker, actor.claimant, model_id=model, hosts=hosts, most=most)
        )
        assert sorted(map(repr, leased)) == sorted(map(repr, self.states.lease_slots(actor.id, model, most)))
        actor.slots.update(leased)

    def give_back_slots(self, who: int, which: int) -> None:
        actor = pick(self.actors, who)
        idle = actor.idle(pick(self.ground.models, which))
        self.ground.run(give_back_slots(self.ground.worker, actor.claimant, idle))
        self.states.give_back(actor.id, idle)
        actor.slots.difference_update(idle)

    def claim(self, who: int, both: bool, most: int, floored: bool, around: bool, answered: bool) -> None:
        """Of one model or of both, by somebody with idle slots if possible; the answer may get lost."""
        ready = [actor for actor in self.actors if any(map(actor.idle, self.ground.models))]
        actor = pick(ready or self.actors, who)
        models = self.ground.models if both else [pick(self.ground.models, who + most)]
        wants = [self._want(actor, model, most, floored=floored) for model in models]
        expected: set[int] = set()
        for want in wants:
            count = self.states.claimable(actor.id, want.model_id, want.free)
            expected |= self.ground.next_jobs(want.model_id, count)
        claimed = self.ground.run(
            jobs.claim(self.ground.worker, actor.claimant, wants, deadline_seconds=3600, around=around)
        )
        assert {each.job_id for each in claimed} == expected
        for each in claimed:
            job = self.states.claim(actor.id, each.job_id)
            assert (each.epoch, each.attempts, str(each.request_id)) == (job.epoch, job.attempts, job.request)
            self.claims.append(each.claim)
            if answered:
                actor.held[each.job_id, each.epoch] = each.model_id

    def _want(self, actor: Actor, model: int, most: int, *, floored: bool) -> Want:
        floor = self.ground.clock(model) - FLOOR_MARGIN if floored else LOWEST_TAG
        nothing_held = model not in actor.held.values()  # may ask for more than it has leased, and gets that
        return Want(model, most if nothing_held else min(most, len(actor.idle(model))), floor)

    def end(self, who: int, which: int, how: str) -> None:
        """A worker writes what it believes to be its own."""
        actor = pick((actor for actor in self.actors if actor.held), who)
        job, epoch = pick(actor.held, which)
        self._write(how, Claim(job, epoch, actor.id))
        if how != "partial":
            del actor.held[job, epoch]

    def write_late(self, which: int, how: str) -> None:
        """Somebody writes for a claim that has ended; what was already accepted may be sent again."""
        late = [claim for claim in self.claims if not self.states.owned(claim.job_id, claim.epoch)]
        outlived = [claim for claim in late if claim.job_id in {job.id for job in self._running()}]
        claim = pick(outlived or late, which)
        before = self.ground.query("select to_jsonb(j) from private.job j order by id")
        self._write(how, claim)
        assert self.ground.query("select to_jsonb(j) from private.job j order by id") == before

    def _write(self, how: str, claim: Claim) -> None:
        """One write, whose answer is as the model says."""
        connection, states = self.ground.worker, self.states
        job, epoch = claim.job_id, claim.epoch
        self.pieces += 1
        if how == "finish":
            body = f"Text {self.pieces}."
            done = self.ground.run(jobs.finish(connection, [Finished(claim, body, "{}", "{}")]))
            assert bool(done) == states.finish(job, epoch, body)
        elif how == "fail":
            failed = self.ground.run(jobs.fail(connection, claim, code="model_failed", message="No."))
            assert failed == states.fail(job, epoch, "model_failed")
        elif how == "release":
            released = self.ground.run(jobs.release(connection, [claim]))
            assert released == states.release(job, epoch)
            self._stand([states.jobs[job]] if released else [])
        elif how == "partial":
            piece, progress = PartialText(claim, self.pieces, "So"), Progress(claim, 0.5)
            self.ground.run(jobs.write_partials(connection, [piece], [progress]))
            states.write_partial(job, epoch, self.pieces, 0.5)
        else:
            counted = how == "back_off"
            off = jobs.back_off(
                connection, claim, seconds=3600, counted=counted, code="model_busy", message="Later."
            )
            assert self.ground.run(off) == states.back_off(job, epoch, "model_busy", counted=counted)

    def renew(self, who: int, leaving: bool) -> None:
        """And obey what the renewal says."""
        actor = pick(self.actors, who)
        alive = self.states.registered(actor.id) is not None
        news = self._news(actor)
        renewal = self.ground.run(
            workers.renew(
                self.ground.worker,
                actor.claimant,
                leaving=leaving,
                models=self.ground.models,
                hosts=[key.host_id for key in self.ground.slots],
                claims=list(actor.held),
            )
        )
        others = {(other.worker_id, other.incarnation, other.fenced) for other in renewal.others}
        heard = (others, renewal.due_seconds is not None, renewal.lost, renewal.unknown_claims)
        assert (renewal.alive, heard) == (alive, news)
        assert {(s.model_id, s.slots, s.unleased, s.workers) for s in renewal.shares} == self._shares()
        if not alive:
            self.actors[self.actors.index(actor)] = self._registered()
            return
        row = self.states.workers[actor.id]
        row.serves, row.draining = True, row.draining or leaving
        assert renewal.draining == row.draining
        row.lease = "fresh"
        for claim in renewal.lost:
            del actor.held[claim]
        unknown_claims = [Claim(job, epoch, actor.id) for job, epoch in renewal.unknown_claims]
        assert self.ground.run(jobs.release(self.ground.worker, unknown_claims)) == len(unknown_claims)
        for job, epoch in renewal.unknown_claims:
            self.states.release(job, epoch)

    def _news(self, actor: Actor) -> tuple[object, ...]:
        """Who else there is; whether jobs are scheduled; what is lost, what is stray."""
        states = self.states
        mine = {(job.id, job.epoch) for job in states.running(actor.id)}
        held_jobs = {job for job, _ in actor.held}
        others = {
            (row.id, row.incarnation, row.lease == "fenced")
            for row in states.workers.values()
            if row.id != actor.id
        }
        scheduled = any(job.scheduled and job.state == "ready" for job in self.jobs())
        unknown_claims = {claim for claim in mine if claim[0] not in held_jobs}
        return others, scheduled, set(actor.held) - mine, unknown_claims

    def _shares(self) -> set[tuple[int, int, int, int]]:
        """Of each model: slots, those that nobody holds, workers that serve it."""
        serve = sum(
            row.serves and row.lease != "fenced" and not row.draining for row in self.states.workers.values()
        )
        return {
            (
                model,
                0 if self.states.is_paused(model) else SLOTS * HOSTS,
                len(self.states.unleased(model)),
                serve,
            )
            for model in self.ground.models
        }

    def unregister(self, who: int) -> None:
        actor = pick(self.actors, who)
        self.actors.remove(actor)
        self.ground.run(workers.unregister(self.ground.worker, actor.claimant))
        self.states.unregister(actor.id)

    def fall_silent(self, who: int, lease: Lease, lives: bool) -> None:
        """It renews no more; its process may be gone as well."""
        row = pick((row for row in self.states.workers.values() if row.lease != "fenced"), who)
        row.lease = lease
        if row.lives and not lives:
            self.ground.show_life(row.id, lives=False)
        row.lives = row.lives and lives

    # Sweeps

    def rescue(self) -> None:
        rescued = self.ground.run(
            rescue.rescue(self.ground.worker, self._suspects(), max_attempts=MAX_ATTEMPTS)
        )
        found = (
            rescued.requeued,
            rescued.failed,
            tuple(sorted(rescued.fenced)),
            tuple(sorted(rescued.forgotten)),
        )
        ran = self._running()
        assert found == self.states.rescue()
        self._stand(job for job in ran if job.state != "running")
        self._postpone()

    def _postpone(self) -> None:
        """What waits for its time waits for the test."""
        self.query("update private.job set run_at = now() + interval '1 hour' where run_at is not null")

    def requeue_overdue(self, which: list[int]) -> None:
        late = self._some(self._running(), which)
        claims = [Claim(job.id, job.epoch, job.worker or 0) for job in late]
        hung = self.ground.run(rescue.requeue_overdue(self.ground.worker, claims, max_attempts=MAX_ATTEMPTS))
        assert (hung.requeued, hung.failed) == self.states.requeue_overdue(late)
        self._stand(job for job in late if job.state != "running")

    def ready_due(self, which: list[int]) -> None:
        due = self._some((job for job in self.jobs() if job.state == "ready" and job.scheduled), which)
        for place, job in enumerate(due):  # in this order
            self.query(
                "update private.job set run_at = now() - %s * interval '1 s' where id = %s", 9 - place, job.id
            )
        assert self.ground.run(rescue.ready_due(self.ground.worker)) == self.states.ready_due(due)
        self._postpone()

    def _running(self) -> list[Job]:
        return [job for job in self.jobs() if job.state == "running"]

    def _stand(self, jobs: Iterable[Job]) -> None:
        """Those that can be claimed have a turn ahead of the clock, a step from their owner's others."""
        crowded = self.ground.query(
            "select j.id from private.job j join private.model m on m.id = j.model_id"
            " where j.id = any (%s) and j.state = 'ready' and j.run_at is null"
            " and (j.tag <= coalesce(pg_sequence_last_value(m.clock), 0)"
            " or exists (select from private.job o where o.state = 'ready' and o.run_at is null"
            " and o.owner = j.owner and o.model_id = j.model_id and o.id <> j.id"
            " and abs(o.tag - j.tag) < m.step))",
            [job.id for job in jobs],
        )
        assert crowded == []

    @staticmethod
    def _some(jobs: Iterable[Job], which: Iterable[int]) -> list[Job]:
        """Several, each once."""
        found = list(jobs)
        return list({job.id: job for job in (pick(found, n) for n in which)}.values())

    def prune_partials(self) -> None:
        self.ground.run(rescue.prune_partials(self.ground.worker))
        self.states.prune_partials()
