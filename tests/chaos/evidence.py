"""What is known after a run: rows of the database, the model server's log, the workers' logs. Judges
nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from tests.chaos.crew import Frozen, Worker
from tests.chaos.model_server import Call
from tests.chaos.producers import Accepted
from tests.chaos.scene import SLOTS, Scene

JOBS: LiteralString = """
select j.id, j.request_id as request, r.title::int as mark, j.state, j.epoch, m.name as model,
       extract(epoch from j.finished_at)::float8 as finished_at,
       array(select s.epoch from private.result s where s.request_id = r.id) as results,
       (select count(*) from private.event e where e.ref = r.id)::int as events,
       (select extract(epoch from max(e.at))::float8 from private.event e where e.ref = r.id) as last_event_at
  from private.request r join private.job j on j.id = r.job_id
  join private.model m on m.id = j.model_id
"""
ATTEMPTS: LiteralString = """
select a.job_id, r.title::int as mark, a.epoch, split_part(a.worker, ':', 2) as pid, a.outcome,
       coalesce(a.error_code, '') as error, extract(epoch from a.claimed_at)::float8 as claimed_at,
       extract(epoch from a.ended_at)::float8 as ended_at
  from private.attempt a join private.request r on r.id = a.request_id order by a.job_id, a.epoch
"""
CURSORS: LiteralString = """
select c.owner, c.n as told, c.waiting,
       (select count(*) from private.event e where e.owner = c.owner)::int as events
  from private.event_cursor c
"""
STRANDED_SLOTS: LiteralString = """
select count(*)::int from private.slot s
 where s.worker_id is not null and not exists (
   select from private.worker w where w.id = s.worker_id and w.incarnation = s.incarnation)
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A request's root job as it ended. Times are seconds since the epoch, here and below."""

    id: int
    request: UUID
    mark: int
    state: str
    epoch: int
    model: str
    finished_at: float | None
    results: Sequence[int]
    events: int
    last_event_at: float | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A claim that has ended."""

    job_id: int
    mark: int
    epoch: int
    pid: str | None
    outcome: str
    error: str
    claimed_at: float
    ended_at: float

    @property
    def was_rescued(self) -> bool:
        """Others have taken the job from a worker that was thought dead."""
        return self.error == "worker_lost"


@dataclass(frozen=True, slots=True)
class Cursor:
    """What an owner's row of counters says, and how many events there are."""

    owner: UUID
    told: int
    waiting: int
    events: int


@dataclass(frozen=True, slots=True)
class Evidence:
    accepted: Sequence[Accepted]
    jobs: Sequence[Job]
    attempts: Sequence[Attempt]
    cursors: Sequence[Cursor]
    calls: Sequence[Call]
    frozen: Sequence[Frozen]
    finished: frozenset[tuple[int, int]]  # (job, epoch)s that a worker's log calls done
    stranded_slots: int
    slots: int = SLOTS


async def gather(scene: Scene) -> Evidence:
    """Everything, once nothing moves any more."""
    async with scene.session() as connection:
        jobs = [Job(**row) for row in await connection.fetch(JOBS)]
        attempts = [Attempt(**row) for row in await connection.fetch(ATTEMPTS)]
        cursors = [Cursor(**row) for row in await connection.fetch(CURSORS)]
        stranded = await connection.fetchval(STRANDED_SLOTS)
    return Evidence(
        tuple(scene.producers.accepted), jobs, attempts, cursors, tuple(scene.models.calls),
        _frozen(scene.workers), frozenset().union(*(worker.finished() for worker in scene.workers)), stranded,
    )  # fmt: skip


def _frozen(workers: Sequence[Worker]) -> tuple[Frozen, ...]:
    return tuple(frozen for worker in workers for frozen in worker.frozen)
