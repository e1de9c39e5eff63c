"""A database with our schema, people, one model, and workers whose leases do not end: where statements are
measured. Rows are laid there in bulk, as the inserts of so many people in turn would have left them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, LiteralString

import asyncpg

from chassis.database import connect
from listener.queue import jobs, models, workers
from listener.queue.connection import GUARD
from listener.queue.jobs import Claim, Claimant, Claimed, Want
from listener.queue.models import Served
from listener.queue.slots import lease_slots
from listener.work.claim_floor import ClaimFloors
from tests.fix_postgres import Cluster, Database

MODEL = "bench"
DEADLINE_SECONDS = 900.0
BODY = "The bridge closes in March. The ferry carries walkers; drivers take the road through Melford."
TEXTS = (BODY, "{}", "{}")
# Accounts have numbers for ids, so that a script of pgbench can be somebody without asking. $1 how many.
MAKE_PEOPLE: LiteralString = """
insert into private.account (id, email, email_key)
select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, a.address, a.address
  from generate_series(1, $1::int) n cross join lateral (select n || '@bench.example' as address) a
"""
# $1 people, $2 number of the first row, $3 rows.
LAY_REQUESTS: LiteralString = """
insert into private.request (id, owner, task, text, model, body_hash)
select ('10000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
       ('00000000-0000-4000-8000-' || lpad((1 + n % $1::int)::text, 12, '0'))::uuid,
       'summarize', 'A sentence that waits.', 'bench', ''
  from generate_series($2::bigint, $2 + $3::bigint - 1) n
"""
# $4 the number of the first row since the table was empty, $5 the clock then. The tags are those that
# private.fair_tag would have drawn: each person's row a step behind their last.
LAY_JOBS: LiteralString = """
insert into private.job (id, request_id, owner, model_id, tag)
select r.job_id, r.id, r.owner, m.id, $5::bigint + m.step / 2 + (n - $4::bigint) / $1 * m.step
  from private.model m cross join generate_series($2::bigint, $2 + $3::bigint - 1) n
  join private.request r on r.id = ('10000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
 order by r.job_id
"""
# What a claim and a finish bring about beside the job: events, attempts, what waits.
WITHOUT_LOG = "drop trigger job_update_is_logged on private.job"
READ_CLOCK: LiteralString = "select coalesce(pg_sequence_last_value(m.clock), 0) from private.model m"
CLEAR: LiteralString = "truncate private.request, private.job, private.attempt, private.result, private.event"
# Else autovacuum would do it while we measure. Whoever has cached a plan makes it anew.
SETTLE: LiteralString = "vacuum (analyze) private.request, private.job, private.event_cursor"


class Hand:
    """A worker without a model: claims and finishes with the listener's own statements."""

    def __init__(self, connection: "asyncpg.Connection[Any]", claimant: Claimant, model_id: int) -> None:
        self._connection = connection
        self._claimant = claimant
        self._model_id = model_id
        self._floors = ClaimFloors()

    async def claim(self, free: int, *, at: float) -> list[Claimed]:
        """`at` is now, by any clock that only goes forward."""
        floor = self._floors.floors([self._model_id], at=at)[self._model_id]
        want = Want(self._model_id, free, floor)
        claimed = await jobs.claim(
            self._connection, self._claimant, [want], deadline_seconds=DEADLINE_SECONDS
        )
        self._floors.answered(in_full=len(claimed) == free)
        if claimed:
            self._floors.see(self._model_id, max(job.reached for job in claimed), at=at)
        return claimed

    async def finish(
        self,
        claimed: list[Claimed],
        *,
        statement: LiteralString = jobs.FINISH,
        texts: tuple[str, ...] = TEXTS,
    ) -> None:
        """All in one statement. `texts` is what of a result it takes: body, checks, engine."""
        accepted = await self._connection.fetch(
            statement,
            *jobs.columns(claimed, len(Claim._fields)),
            *([text] * len(claimed) for text in texts),
        )
        assert len(accepted) == len(claimed)


class Ground:
    """`database` has the model on one host with many slots, and `people`."""

    def __init__(
        self, database: Database, owner: "asyncpg.Connection[Any]", until_end: AsyncExitStack, people: int
    ) -> None:
        self.database = database
        self._owner = owner
        self._until_end = until_end
        self._people = people
        self._laid = 0
        self._origin: tuple[int, int] | None = None
        self._host_id = self._model_id = 0

    async def prepare(self, *, slots: int) -> None:
        owner = self._owner
        await owner.execute(MAKE_PEOPLE, self._people)
        self._host_id = await models.put_host(owner, url="http://bench.invalid", version="0")
        self._model_id = await models.add_model(owner, MODEL)
        served = [Served(self._model_id, MODEL, "digest", "llama", 8192, ("completion",))]
        await models.put_host_models(owner, self._host_id, served, slots_per_model=slots)
        await models.choose_default(owner, "")
        await owner.execute("update private.allowance set requests_per_day = null, requests_waiting = null")
        await owner.execute("set session_replication_role = replica")  # no trigger tells of what is laid
        await owner.execute(SETTLE)

    async def lay(self, rows: int) -> None:
        """So many ready jobs, of everybody in turn."""
        first, self._laid = self._laid, self._laid + rows
        self._origin = self._origin or (first, await self._owner.fetchval(READ_CLOCK))
        await self._owner.execute(LAY_REQUESTS, self._people, first, rows)
        await self._owner.execute(LAY_JOBS, self._people, first, rows, *self._origin)

    async def settle(self) -> None:
        await self._owner.execute(SETTLE)

    async def clear(self) -> None:
        await self._owner.execute(CLEAR)
        self._origin = None

    async def hand(self, slots: int) -> Hand:
        """A worker of its own, with a connection like a worker's and so many slots."""
        connection = await connect(self.database.url("listener"), name="bench", server_settings=GUARD)
        self._until_end.push_async_callback(connection.close)
        claimant = await workers.register(connection, name="bench", version="0")
        await self._owner.execute(
            "update private.worker set lease_until = 'infinity' where id = $1", claimant.worker_id
        )
        leased = await lease_slots(
            connection, claimant, model_id=self._model_id, hosts=[self._host_id], most=slots
        )
        assert len(leased) == slots
        return Hand(connection, claimant, self._model_id)


@contextmanager
def migrated(cluster: Cluster, name: str) -> Iterator[Database]:
    """A new database with our schema; gone at the end."""
    database = cluster.create_database(name)
    try:
        cluster.dbmate(name, "up")
        yield database
    finally:
        cluster.psql("postgres", "-c", f'drop database "{name}" with (force)')


@asynccontextmanager
async def ground(database: Database, *, people: int, slots: int) -> AsyncIterator[Ground]:
    """`database` is migrated and empty."""
    async with AsyncExitStack() as until_end:
        owner = await connect(database.url(), name="ground", command_timeout=None)
        until_end.push_async_callback(owner.close)
        made = Ground(database, owner, until_end, people)
        await made.prepare(slots=slots)
        yield made
