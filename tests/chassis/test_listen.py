"""The LISTEN connection: hears, proves that it does, comes back, and says when something may have been
missed."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
import pytest
from prometheus_client import REGISTRY

from chassis import listen
from chassis.database import Connection, pool
from chassis.listen import ListenConnection
from tests.chassis.deaf_proxy import deaf_proxy
from tests.chassis.fix_replicas import frozen, silent_host
from tests.fix_postgres import Cluster, Database

pytestmark = pytest.mark.services

PATIENCE_SECONDS = 20.0
NAME = "test listen"
PID = """
select pid from pg_stat_activity where application_name = 'test listen' and datname = current_database()"""
CUT = f"select pg_terminate_backend(pid, 5000) from ({PID}) l"
STORM = "select pg_notify('a', n || %s) from generate_series(1, %s) n"
MISSED = "missed"


@dataclass
class Ear:
    """Remembers what it was told, in order."""

    heard: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def missed(self) -> None:
        self.heard.put_nowait(MISSED)

    def on(self, channel: str) -> Callable[[str], None]:
        return lambda payload: self.heard.put_nowait(f"{channel}:{payload}")

    async def next(self) -> str:
        return await asyncio.wait_for(self.heard.get(), PATIENCE_SECONDS)


@dataclass
class Ground:
    """A connection that listens to `a` and `b`, and what it has heard."""

    database: Database
    connection: ListenConnection
    ear: Ear
    running: "asyncio.Task[Any]"

    def query(self, sql: LiteralString, *arguments: object) -> list[tuple[Any, ...]]:
        with self.database.connect() as connection:
            cursor = connection.execute(sql, arguments)
            return list(cursor.fetchall()) if cursor.description else []

    async def listening(self) -> None:
        await asyncio.wait_for(self.connection.listening.wait(), PATIENCE_SECONDS)

    def pid(self) -> int:
        [[pid]] = self.query(PID)
        return int(pid)


@contextlib.asynccontextmanager
async def listening(
    database: Database, *, url: str = "", said_at: Database | None = None, **options: Any
) -> AsyncIterator[Ground]:
    """One that runs; on the way out it is cancelled and must end soon."""
    ear = Ear()
    options = {"handlers": {"a": ear.on("a"), "b": ear.on("b")}, "missed": ear.missed} | options
    async with pool((said_at or database).url("listener"), name="test said", size=1) as speakers:
        connection = ListenConnection(url or database.url("listener"), speakers, name=NAME, **options)
        running = asyncio.create_task(connection.run())
        try:
            yield Ground(database, connection, ear, running)
        finally:
            running.cancel()
            await asyncio.wait([running], timeout=5)
            assert running.done()


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first echo there is none, so that everything else has to be noticed without."""
    monkeypatch.setattr(listen, "ECHO_EVERY_SECONDS", 3600.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Echoes come often, and a missing one is noticed soon."""
    monkeypatch.setattr(listen, "ECHO_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(listen, "ECHO_SECONDS", 0.5)


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"precis_listen_{name}", labels) or 0.0


async def test_what_is_said_reaches_the_handler_of_its_channel_in_order_and_nobody_gets_echoes(
    database: Database, hasty: None
) -> None:
    async with listening(database) as ground:
        await ground.listening()
        ground.query("select pg_notify('a', '1'), pg_notify('c', 'not ours')")
        ground.query("select pg_notify('b', ''), pg_notify('a', 'echo'), pg_notify('b', '2')")
        assert [await ground.ear.next() for _ in range(5)] == [MISSED, "a:1", "b:", "a:echo", "b:2"]
        before = metric("echo_seconds_count")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while metric("echo_seconds_count") < before + 3:
                await asyncio.sleep(0)
        assert ground.ear.heard.empty()


async def test_notices_are_counted_by_channel(database: Database) -> None:
    async with listening(database) as ground:
        await ground.listening()
        before = metric("notices_total", channel="a")
        ground.query("select pg_notify('a', '1'), pg_notify('a', '2')")
        assert [await ground.ear.next() for _ in range(3)] == [MISSED, "a:1", "a:2"]
        assert metric("notices_total", channel="a") == before + 2


async def test_what_is_said_while_the_connection_is_away_is_not_lost_on_who_looks_when_told(
    database: Database, unproven: None
) -> None:
    async with listening(database) as ground:
        await ground.listening()
        assert await ground.ear.next() == MISSED
        ground.query("create table news (n int)")
        with database.connect() as somebody, somebody.transaction():
            somebody.execute(CUT)
            somebody.execute("insert into news values (1)")
            somebody.execute("select pg_notify('a', 'news')")
        before = metric("lost_total")
        assert await ground.ear.next() == MISSED
        assert ground.query("select n from news") == [(1,)]
        await ground.listening()
        assert metric("lost_total") == before + 1
        ground.query("select pg_notify('a', 'again')")
        assert await ground.ear.next() == "a:again"


async def test_a_connection_that_answers_but_hears_nothing_is_opened_anew(
    database: Database, hasty: None
) -> None:
    async with deaf_proxy(database, "listener") as proxy, listening(database, url=proxy.url) as ground:
        await ground.listening()
        assert await ground.ear.next() == MISSED
        pid = ground.pid()
        proxy.swallows = True
        ground.query("select pg_notify('a', 'swallowed')")
        assert await ground.ear.next() == MISSED
        assert proxy.swallowed >= 1
        proxy.swallows = False
        await ground.listening()
        while not ground.ear.heard.empty():
            assert await ground.ear.next() == MISSED
        ground.query("select pg_notify('a', 'heard')")
        assert await ground.ear.next() == "a:heard"
        assert ground.pid() != pid


async def test_a_connection_whose_server_hangs_is_opened_anew(database: Database, hasty: None) -> None:
    async with listening(database) as ground:
        await ground.listening()
        assert await ground.ear.next() == MISSED
        with frozen(ground.pid()):
            assert await ground.ear.next() == MISSED
            await ground.listening()


async def test_who_listens_where_nobody_speaks_is_not_taken_to_listen(
    database: Database, cluster: Cluster, hasty: None
) -> None:
    """As after a failover that left one connection with the old primary."""
    other = cluster.create_database("elsewhere", template="template_precis")
    async with listening(database, said_at=other) as ground:
        assert [await ground.ear.next() for _ in range(3)] == [MISSED] * 3
        assert not ground.connection.listening.is_set()
    cluster.psql("postgres", "-c", 'drop database "elsewhere" with (force)')


async def test_it_outlives_a_restart_of_the_server(own_cluster: Cluster, unproven: None) -> None:
    async with listening(Database(own_cluster, "precis")) as ground:
        await ground.listening()
        assert await ground.ear.next() == MISSED
        await asyncio.to_thread(own_cluster.stop, "immediate")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while ground.connection.listening.is_set():
                await asyncio.sleep(0)
        await asyncio.to_thread(own_cluster.start)
        assert await ground.ear.next() == MISSED
        await ground.listening()
        ground.query("select pg_notify('a', 'back')")
        assert await ground.ear.next() == "a:back"


async def test_while_nobody_can_be_told_anything_everything_is_looked_at_and_nothing_is_cut(
    database: Database, hasty: None
) -> None:
    async with listening(database) as ground:
        await ground.listening()
        assert await ground.ear.next() == MISSED
        pid = ground.pid()
        ground.query(
            "create or replace function private.tell(channel text, payload text) returns boolean"
            " language sql as 'select false'"
        )
        assert [await ground.ear.next() for _ in range(3)] == [MISSED] * 3
        assert ground.pid() == pid
        assert ground.connection.listening.is_set()


async def test_what_the_session_must_hold_is_seen_to_at_each_opening_and_when_nudged(
    database: Database, unproven: None
) -> None:
    held: asyncio.Queue[int] = asyncio.Queue()
    number = 1

    async def hold(connection: Connection) -> None:
        await connection.execute("select pg_advisory_lock(77, $1)", number)
        held.put_nowait(number)

    async def next_held() -> int:
        return await asyncio.wait_for(held.get(), PATIENCE_SECONDS)

    async with listening(database, session=hold) as ground:
        assert await next_held() == 1
        number = 2
        ground.connection.nudge()
        assert await next_held() == 2
        ground.query(CUT)
        number = 3
        assert await next_held() == 3
        locks = "select objid::int from pg_locks where locktype = 'advisory' and classid = 77"
        assert ground.query(locks) == [(3,)]


@pytest.mark.parametrize("error", [KeyError("ours"), ConnectionError("ours as well")])
async def test_a_handler_that_fails_is_a_mistake_of_ours_and_ends_it(
    database: Database, error: Exception
) -> None:
    def fail(_payload: str) -> None:
        raise error

    async with listening(database, handlers={"a": fail}) as ground:
        await ground.listening()
        ground.query("select pg_notify('a', '')")
        with pytest.raises(type(error), match="ours"):
            await asyncio.wait_for(ground.running, PATIENCE_SECONDS)


async def test_what_is_said_while_a_handler_is_slow_is_heard_and_costs_no_memory(database: Database) -> None:
    count, payload = 3000, "x" * 7900
    heard: list[int] = []
    last = asyncio.Event()

    def slow(text: str) -> None:
        if text == "start":
            with psycopg.connect(database.url()) as speaker:  # all is said before this one returns
                speaker.execute(STORM, [payload, count])
            tracemalloc.start()
        else:
            heard.append(int(text.partition("x")[0]))
        if len(heard) == count:
            last.set()

    try:
        async with listening(database, handlers={"a": slow}) as ground:
            await ground.listening()
            ground.query("select pg_notify('a', 'start')")
            await asyncio.wait_for(last.wait(), PATIENCE_SECONDS)
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert heard == list(range(1, count + 1))
    assert peak < count * len(payload) / 4


async def test_it_ends_at_once_while_its_server_hangs(database: Database) -> None:
    async with listening(database) as ground:
        await ground.listening()
        with frozen(ground.pid()):
            ground.running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(ground.running, 5)


async def test_it_ends_at_once_while_nobody_answers_its_opening(database: Database) -> None:
    with silent_host() as port:
        async with listening(database, url=f"postgresql://x@127.0.0.1:{port}/x") as ground:
            await asyncio.sleep(0)
            assert not ground.connection.listening.is_set()
