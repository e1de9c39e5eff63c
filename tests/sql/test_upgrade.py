"""The release before works on while the migrations of this one run and after them: its own statements, on
connections that were open all the time. And what it has left in the tables is counted right."""

import asyncio
import contextlib
import itertools
import json
import shutil
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import asyncpg
import pytest

from chassis.database import connect
from listener import queue, registry, upkeep
from listener.lines import GUARD
from listener.queue import Claimant, Want
from tests.fix_postgres import ROOT, Database
from tests.fix_tokens import Tokens
from tests.sql import previous_release as before
from tests.sql.acting import (
    Connection,
    acting,
    ask,
    counted,
    listening,
    put,
    sign_up,
    some_model,
    until,
)

pytestmark = pytest.mark.sql

FILES = sorted((ROOT / "sql/migrations").glob("*.sql"))
FIRST_NEW = "20261124110000"
OF_BEFORE = [file for file in FILES if file.name < FIRST_NEW]
MANY = 100
SLOTS: LiteralString = """
    with h as (insert into private.host (url) values ('http://one') returning id)
    insert into private.slot (host_id, model_id, n) select h.id, %s, n from h, generate_series(1, 100) n"""


@pytest.fixture
def old(empty: Database, tmp_path: Path) -> Database:
    """A database as the release before made it."""
    tmp_path.chmod(0o755)
    for file in OF_BEFORE:
        shutil.copy(file, tmp_path)
    empty.cluster.dbmate(empty.name, "-d", str(tmp_path), "up")
    return empty


def up(database: Database) -> None:
    database.cluster.dbmate(database.name, "up")


def down_to_before(database: Database) -> None:
    for _ in FILES[len(OF_BEFORE) :]:
        database.cluster.dbmate(database.name, "rollback")


def ask_many(database: Database, owner: UUID, count: int) -> list[UUID]:
    with acting(database, owner) as person:
        return [ask(person) for _ in range(count)]


def waiting_and_ready(database: Database) -> list[tuple[object, ...]]:
    with database.connect() as connection:
        return connection.execute("""
            select c.waiting, (select count(*) from private.job j
                                where j.owner = c.owner and j.kind = 'root' and j.state = 'ready')
              from private.event_cursor c order by 2""").fetchall()


def test_what_waits_in_a_database_of_the_release_before_is_counted(old: Database) -> None:
    some_model(old)
    busy, idle = sign_up(old), sign_up(old)
    states = ["ready", "ready", "ready", "running", "done", "failed", "cancelled"]
    for request, state in zip(ask_many(old, busy, len(states)), states, strict=True):
        put(old, request, state)
    up(old)
    assert counted(old, busy) == (3, 0, 0)
    assert counted(old, idle) == (0, 0, 0)
    ask_many(old, busy, 1)
    assert counted(old, busy) == (4, 1, 10)


def test_what_is_there_survives_the_way_up_and_down_and_up(old: Database) -> None:
    some_model(old)
    owner = sign_up(old)
    ask_many(old, owner, 2)
    up(old)
    running, *_ = ask_many(old, owner, 2)
    put(old, running, "running")
    down_to_before(old)
    put(old, running, "done")
    ask_many(old, owner, 1)
    with old.connect() as connection:
        states = connection.execute("select state, count(*) from private.job group by 1 order by 1")
        assert states.fetchall() == [("done", 1), ("ready", 4)]
        events = connection.execute(
            "select count(*), max(e.n), c.n from private.event e, private.event_cursor c group by c.n"
        )
        assert events.fetchall() == [(7, 7, 7)]
    up(old)
    assert counted(old, owner) == (4, 0, 0)


@dataclass(frozen=True)
class Worker:
    """A worker of the release before."""

    connection: "asyncpg.Connection[Any]"
    claimant: Claimant
    model: int

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        return list(await self.connection.fetch(statement, *arguments))

    async def claim(self, free: int = 1, statement: str = before.CLAIM) -> list[asyncpg.Record]:
        who = (self.claimant.worker_id, self.claimant.incarnation)
        return await self.fetch(statement, *who, [self.model], [free], [queue.LOWEST_TAG], 60.0)

    async def claim_one(self) -> tuple[int, int]:
        (row,) = await self.claim()
        return row["job_id"], row["epoch"]

    async def rescue(self, statement: str = before.RESCUE) -> asyncpg.Record:
        # A lease of no seconds: else a young server rescues nobody.
        (row,) = await self.fetch(statement, upkeep.SWEEP_LOCK, MANY, 5, 0, 0, upkeep.ALIVE_LOCK, "Lost.")
        return row

    async def renew(self, statement: str = before.RENEW, *more: object) -> asyncpg.Record:
        who = (self.claimant.worker_id, self.claimant.incarnation)
        (row,) = await self.fetch(statement, *who, 15, False, [self.model], [], [], 5, *more)
        return row


@contextlib.asynccontextmanager
async def worker_of_before(database: Database, model: int) -> AsyncIterator[Worker]:
    connection = await connect(database.url("listener"), name="before", server_settings=GUARD)
    try:
        (row,) = await connection.fetch(before.REGISTER, "before", "0", 15)
        worker = Worker(connection, Claimant(row["id"], row["incarnation"]), model)
        with database.connect() as operator:
            (host,) = operator.execute("select max(id) from private.host").fetchall()
        who = (worker.claimant.worker_id, worker.claimant.incarnation)
        leased = await worker.fetch(before.LEASE_SLOTS, *who, model, [host[0]], 5)
        assert len(leased) == 5
        yield worker
    finally:
        connection.terminate()


def model_with_slots(database: Database) -> int:
    model = some_model(database)
    with database.connect() as operator:
        operator.execute(SLOTS, [model])
    return model


async def live(worker: Worker, database: Database, owner: UUID) -> None:
    """Each statement of the release before does what it is for, once."""
    await asyncio.to_thread(ask_many, database, owner, 6)
    job, epoch = await worker.claim_one()
    await worker.fetch(before.WRITE_PARTIALS, [job], [epoch], [1], ["So"], [job], [epoch], [0.5])
    assert await worker.fetch(before.FINISH, [job], [epoch], ["Short."], ["{}"], ["{}"])
    assert await worker.fetch(before.FAIL, *(await worker.claim_one()), "model_failed", "It broke.")
    assert await worker.fetch(before.BACK_OFF, *(await worker.claim_one()), 0.0, 1)
    assert (await worker.fetch(before.READY_DUE, upkeep.SWEEP_LOCK, MANY))[0][0] == 1
    ((job, epoch),) = [await worker.claim_one()]
    assert await worker.fetch(before.RELEASE, [job], [epoch])
    (row,) = await worker.claim(statement=before.CLAIM_AROUND)
    assert row["text"] == "Some text."
    pulse = await worker.renew()
    assert (pulse["alive"], list(pulse["strays"])) == (True, [[row["job_id"], row["epoch"]]])
    await worker.connection.execute("update private.job set deadline_at = now() where state = 'running'")
    (row,) = await worker.fetch(before.REQUEUE_OVERDUE, upkeep.SWEEP_LOCK, MANY, 5, "Too slow.")
    assert row["requeued"] == 1
    assert (await worker.rescue())["requeued"] == 0
    await worker.fetch(before.PRUNE_PARTIALS)
    for job, epoch in [(row["job_id"], row["epoch"]) for row in await worker.claim(4)]:
        assert await worker.fetch(before.FINISH, [job], [epoch], ["Short."], ["{}"], ["{}"])


async def test_a_worker_of_the_release_before_works_on_through_the_migrations(old: Database) -> None:
    model, owner = model_with_slots(old), sign_up(old)
    async with worker_of_before(old, model) as worker:
        await live(worker, old, owner)
        await asyncio.to_thread(up, old)
        await live(worker, old, owner)
        assert counted(old, owner) == (0, 6, 60)
        await asyncio.to_thread(down_to_before, old)
        await live(worker, old, owner)


async def test_an_event_stream_of_the_release_before_goes_on_through_the_migrations(old: Database) -> None:
    claims = json.dumps(Tokens(old).person().claims())
    connection = await connect(old.url("listener_events"), name="before")

    async def head() -> asyncpg.Record | None:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(before.BECOME_USER, "pgrest_auth", claims)
            return await connection.fetchrow(before.READ_HEAD)

    try:
        at_first = await head()
        assert at_first
        await asyncio.to_thread(up, old)
        assert await head() == at_first
        await asyncio.to_thread(down_to_before, old)
        assert await head() == at_first
    finally:
        connection.terminate()


def serve(database: Database, tokens: Tokens, over: threading.Event) -> int:
    """A client as PostgREST would serve it, until it is over; how often it was served."""
    claims = json.dumps(tokens.person().claims())

    def enter(connection: Connection) -> None:
        connection.execute(
            "select set_config('role', 'pgrest_auth', true), set_config('request.jwt.claims', %s, true)",
            [claims],
        )
        connection.execute("select gate.pre_request()")

    with database.connect("authenticator") as connection:
        for served in itertools.count():
            if over.is_set():
                return served
            with connection.transaction():
                enter(connection)
                request = ask(connection)
            with connection.transaction():
                enter(connection)
                connection.execute("update public.requests set title = 'T' where id = %s", [request])
                connection.execute("select * from public.requests order by created_at desc limit 5")
    raise AssertionError("the count has an end")


async def drain(worker: Worker, over: threading.Event) -> int:
    """Claims and finishes until it is over; how many. Who meets a deadlock tries again, as it always did."""
    for done in itertools.count():
        if over.is_set():
            return done
        with contextlib.suppress(asyncpg.DeadlockDetectedError):
            for row in await worker.claim(3):
                job, epoch = row["job_id"], row["epoch"]
                await worker.fetch(before.FINISH, [job], [epoch], ["Short."], ["{}"], ["{}"])
    raise AssertionError("the count has an end")


async def test_nobody_who_is_served_meanwhile_hears_of_the_migrations(old: Database) -> None:
    model, tokens, over = model_with_slots(old), Tokens(old), threading.Event()
    async with worker_of_before(old, model) as worker, asyncio.TaskGroup() as group:
        clients = [group.create_task(asyncio.to_thread(serve, old, tokens, over)) for _ in range(4)]
        draining = group.create_task(drain(worker, over))
        try:
            await asyncio.to_thread(until, old, "select from private.result offset 20")
            await asyncio.to_thread(up, old)
            await asyncio.to_thread(until, old, "select from private.attempt offset 20")
        finally:
            over.set()
    assert all(client.result() for client in clients)
    assert draining.result()
    assert all(waiting == ready for waiting, ready in waiting_and_ready(old))


async def test_it_rings_and_registers_and_gives_back_as_before(database: Database) -> None:
    model, owner = model_with_slots(database), sign_up(database)
    async with worker_of_before(database, model) as worker:
        await asyncio.to_thread(ask_many, database, owner, 1)
        job, epoch = await worker.claim_one()
        with listening(database, "precis_bell") as heard, database.connect("listener") as hungry:
            with hungry.transaction():
                hungry.execute("lock table private.bell in share mode")
                await worker.fetch(before.RELEASE, [job], [epoch])
            assert heard() == [""]
        who = (worker.claimant.worker_id, worker.claimant.incarnation)
        with listening(database, "precis_control") as told:
            await worker.fetch(before.GIVE_BACK_SLOTS, *who, [1], [model], [1])
            await worker.fetch(before.UNREGISTER, worker.claimant.worker_id)
            assert told() == ["models", "models"]
        assert not (await worker.renew())["alive"]


async def test_the_log_of_attempts_holds_what_the_release_before_did(database: Database) -> None:
    model, owner = model_with_slots(database), sign_up(database)
    async with worker_of_before(database, model) as worker:
        await live(worker, database, owner)
    with database.connect() as connection:
        logged = connection.execute("select outcome, count(*) from private.attempt group by 1 order by 1")
        # It gives no reason when it backs off or takes back: that looks like a release.
        assert logged.fetchall() == [("done", 5), ("failed", 1), ("released", 3)]
        workers = connection.execute("select distinct worker from private.attempt")
        assert workers.fetchall() == [("before",)]


def expire(database: Database, claimant: Claimant) -> None:
    with database.connect() as operator:
        operator.execute(
            "update private.worker set lease_until = now() - interval '1 s' where id = %s",
            [claimant.worker_id],
        )


async def test_both_releases_side_by_side_share_the_jobs_and_rescue_each_other(database: Database) -> None:
    model, owner = model_with_slots(database), sign_up(database)
    async with worker_of_before(database, model) as older, worker_of_before(database, model) as other:
        newer = other.claimant
        await asyncio.to_thread(ask_many, database, owner, 9)
        one = await older.claim(3)
        two = await queue.claim(other.connection, newer, [Want(model, 3)], deadline_seconds=60)
        assert len({row["job_id"] for row in one} | {job.job_id for job in two}) == 6
        await asyncio.to_thread(expire, database, older.claimant)
        # The release before buries at once; this one fences first, and buries in a later run.
        rescued = [await other.rescue(upkeep.RESCUE) for _ in range(2)]
        assert [(row["requeued"], len(row["buried"])) for row in rescued] == [(3, 0), (0, 1)]
        await asyncio.to_thread(expire, database, newer)
        assert (await older.rescue())["requeued"] == 3
    assert waiting_and_ready(database) == [(9, 9)]


async def test_a_worker_that_this_release_has_fenced_is_buried_by_the_one_before(database: Database) -> None:
    model = model_with_slots(database)
    async with worker_of_before(database, model) as worker, worker_of_before(database, model) as sweeper:
        await asyncio.to_thread(expire, database, worker.claimant)
        assert (await sweeper.rescue(upkeep.RESCUE))["fenced"] == [worker.claimant.worker_id]
        assert not (await worker.renew())["alive"]
        assert (await sweeper.rescue())["workers"] == [worker.claimant.worker_id]


async def test_a_paused_model_is_left_alone_by_both_and_a_paused_queue_by_this_release(
    database: Database,
) -> None:
    model, owner = model_with_slots(database), sign_up(database)
    with database.connect() as operator:
        operator.execute("select private.pause(m.name) from private.model m")
        async with worker_of_before(database, model) as worker:
            await asyncio.to_thread(ask_many, database, owner, 1)
            assert await worker.claim() == []
            operator.execute("select private.pause(), private.resume(m.name) from private.model m")
            assert not await queue.claim(
                worker.connection, worker.claimant, [Want(model, 1)], deadline_seconds=60
            )
            shares = list((await worker.renew(registry.RENEW, []))["models"])
            assert [slots for _, _, slots, _, _ in shares] == [0]
