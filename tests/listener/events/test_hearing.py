"""How the service hears of changes: what it survives, what it does not believe, whom it has rung."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.fix_events import PATIENCE_SECONDS, Rows, Service, insert_as, running
from tests.fix_postgres import Cluster, Database, free_port, server_user
from tests.fix_tokens import Person, Tokens

pytestmark = pytest.mark.services

LISTENER = """
select pid from pg_stat_activity
 where application_name = 'precis events notices' and datname = current_database()"""


async def test_a_killed_listen_connection_is_replaced_and_nothing_missed(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    async with events.stream(ann) as client:
        await client.row(rows.insert(ann), "queued")
        with rows.database.connect() as killer, killer.transaction():
            killer.execute(f"select pg_terminate_backend(pid, 5000) from ({LISTENER}) l")
            request = insert_as(killer, ann)
        assert (await client.next("change")).data["id"] == str(request)
        rows.start(request)
        await client.row(request, "running")
    assert await events.metric("precis_listen_lost_total") >= 1


async def test_a_listen_connection_that_hears_nothing_is_noticed_by_its_echo(
    database: Database, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.listen.ECHO_EVERY_SECONDS", 0.3)
    monkeypatch.setattr("chassis.listen.ECHO_SECONDS", 0.5)
    ann = tokens.person()
    async with running(database) as events, events.stream(ann) as client:
        await client.row(rows.insert(ann), "queued")
        [[pid]] = rows.execute(LISTENER)
        with stopped(pid):
            request = rows.insert(ann)
            assert (await client.next("change")).data["id"] == str(request)


async def test_a_live_listen_connection_hears_its_echo(
    database: Database, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.listen.ECHO_EVERY_SECONDS", 0.05)
    async with running(database) as events, asyncio.timeout(PATIENCE_SECONDS):
        before = await events.metric("precis_listen_echo_seconds_count")
        [[pid]] = rows.execute(LISTENER)
        while await events.metric("precis_listen_echo_seconds_count") < before + 3:
            pass
        assert rows.execute(LISTENER) == [(pid,)]


async def test_a_forged_notice_shows_nobody_anything(events: Service, tokens: Tokens, rows: Rows) -> None:
    ann, bob = tokens.person(), tokens.person()
    secret = rows.insert(bob, title="secret")
    async with events.stream(ann) as client:
        with rows.database.connect("authenticator") as forger:
            for channel, payload in [
                ("precis_event", f"{bob.account}:999"),
                ("precis_event", f"{ann.account}:999"),
                ("precis_event", "nonsense"),
                ("precis_event", "x" * 7_999),
                ("precis_event", f"echo:{'0' * 16}"),
                ("precis_partial", f"{ann.account}:{secret}:1:1"),
                ("precis_partial", ",,:,"),
            ]:
                forger.execute("select pg_notify(%s, %s)", [channel, payload])
            with pytest.raises(psycopg.errors.InvalidParameterValue):
                forger.execute("select pg_notify('precis_event', repeat('x', 8000))")
        request = rows.insert(ann)
        assert (await client.next("change", "partial", "tombstone")).data["id"] == str(request)


async def test_only_an_account_that_is_watched_rings(events: Service, tokens: Tokens, rows: Rows) -> None:
    ann, bob = tokens.person(), tokens.person()
    with rows.database.connect() as ear:
        ear.execute("listen precis_event")
        async with events.stream(ann) as client:
            rows.insert(bob)
            rows.insert(ann)
            await client.next("change")
        heard = [notice.payload for notice in ear.notifies(timeout=0.2)]
    assert heard == [f"{ann.account}:1"]


async def test_a_watch_is_renewed_past_other_accounts_open_writers(
    database: Database, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.watch.RENEW_SECONDS", 0.1)
    ann, bob = tokens.person(), tokens.person()
    async with running(database) as events, events.stream(ann), events.stream(bob):
        with rows.database.connect() as writer, writer.transaction():
            insert_as(writer, bob)
            for _ in range(3):
                await renewal(rows, ann.account)


async def test_who_is_not_watched_for_a_while_is_read_again(
    database: Database, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.watch.RENEW_SECONDS", 0.5)
    monkeypatch.setattr("listener.events.watch.WATCH_SECONDS", 0.0)
    ann = tokens.person()
    async with running(database) as events, events.stream(ann) as client:
        for _ in range(3):
            request = rows.insert(ann)
            assert (await client.next("change")).data["id"] == str(request)


async def test_after_a_reconnect_watches_are_set_anew(events: Service, tokens: Tokens, rows: Rows) -> None:
    ann = tokens.person()
    async with events.stream(ann) as client:
        rows.execute("update private.event_cursor set watched_until = '-infinity'")  # as if failed over
        rows.execute(f"select pg_terminate_backend(pid, 5000) from ({LISTENER}) l")
        await renewal(rows, ann.account)
        request = rows.insert(ann)
        assert (await client.next("change")).data["id"] == str(request)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody reads all the time, also while the database is away."""
    monkeypatch.setattr("listener.events.hub.IDLE_SECONDS", 0.0)
    monkeypatch.setattr("listener.events.service.SWEEP_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_streams_outlive_a_clean_restart_of_postgres(own_cluster: Cluster) -> None:
    database = Database(own_cluster, "precis")
    ann = Tokens(database).person()
    async with running(database) as events, events.stream(ann) as client:
        await client.row(insert(database, ann), "queued")
        before = client.last_id
        await asyncio.to_thread(own_cluster.stop, "fast")
        await asyncio.to_thread(own_cluster.start)
        second = insert(database, ann)
        await client.row(second, "queued")
        assert "reset" not in {frame.event for frame in client.frames}
        async with events.stream(ann, resume=before) as resumed:
            assert (await resumed.next()).id == before
            assert (await resumed.next("change", "reset")).data["id"] == str(second)


# It may have lost commits that did not wait for the disk.
@pytest.mark.usefixtures("impatient")
async def test_after_a_crash_of_postgres_streams_start_over(own_cluster: Cluster) -> None:
    database = Database(own_cluster, "precis")
    ann = Tokens(database).person()
    async with running(database) as events, events.stream(ann) as client:
        await client.row(insert(database, ann), "queued")
        before = client.last_id
        await asyncio.to_thread(own_cluster.stop, "immediate")
        await asyncio.to_thread(own_cluster.start)
        assert (await client.next("reset")).data == {"reason": "foreign"}
        await client.row(insert(database, ann), "queued")
        async with events.stream(ann, resume=before) as resumed:
            reset = await resumed.next()
            assert (reset.event, reset.data, reset.id) == ("reset", {"reason": "foreign"}, client.last_id)


async def test_a_number_that_a_crash_gave_out_twice_hides_no_event(own_cluster: Cluster) -> None:
    database = Database(own_cluster, "precis")
    ann = Tokens(database).person()
    async with running(database) as events:
        async with events.stream(ann) as client:
            first = insert(database, ann)
            await client.row(first, "queued")
            with database.connect() as worker, losing_what_is_not_on_disk(worker):
                worker.execute("set synchronous_commit = off")
                Rows(database, worker).start(first)
                await client.row(first, "running")
        second = insert(database, ann)
        async with events.stream(ann, resume=client.last_id) as resumed:
            reset = await resumed.next()
            assert (reset.event, reset.data) == ("reset", {"reason": "foreign"})
            assert number(reset.id) == number(client.last_id) == 2  # the number of both
            with database.connect() as worker:
                Rows(database, worker).start(second)
            assert number((await resumed.row(second, "running")).id) == 3


async def test_after_a_failover_streams_start_over_on_the_new_primary(own_cluster: Cluster) -> None:
    database = Database(own_cluster, "precis")
    ann = Tokens(database).person()
    with database.connect() as connection:
        kept = Rows(database, connection).insert(ann)
    async with standby(own_cluster) as other:
        both = f"postgresql://listener_events@127.0.0.1:{own_cluster.port},127.0.0.1:{other.port}/precis"
        async with running(database, database_url=both) as events, events.stream(ann) as client:
            await client.next()
            await asyncio.to_thread(own_cluster.stop, "immediate")
            await asyncio.to_thread(other.run, "pg_ctl", "-D", str(other.folder / "data"), "-w", "promote")
            assert (await client.next("reset")).data == {"reason": "foreign"}
            promoted = Database(other, "precis")
            with promoted.connect() as connection:
                Rows(promoted, connection).start(kept)
            await client.row(kept, "running")


@contextlib.asynccontextmanager
async def standby(primary: Cluster) -> AsyncIterator[Cluster]:
    """A second server that follows the first."""
    folder = primary.folder / "standby"
    folder.mkdir()
    if user := server_user():
        os.chown(folder, user.pw_uid, user.pw_gid)
    copy = Cluster(primary.bin, folder, free_port())
    source = f"host=127.0.0.1 port={primary.port} user=postgres"
    primary.run("pg_basebackup", "-d", source, "-D", str(folder / "data"), "-R", "-c", "fast", "-X", "stream")
    await asyncio.to_thread(copy.start)
    try:
        yield copy
    finally:
        copy.stop("immediate")


@contextlib.contextmanager
def losing_what_is_not_on_disk(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """What commits inside without waiting for the disk is lost at the end: Postgres crashes and recovers.

    The process that would have written it soon is held meanwhile, and then killed.
    """
    [[writer]] = connection.execute(
        "select pid from pg_stat_activity where backend_type = 'walwriter'"
    ).fetchall()
    os.kill(writer, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(writer, signal.SIGKILL)
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            connection.execute("select 1")


def insert(database: Database, person: Person) -> UUID:
    """A request of that person, once the database answers."""
    while True:
        with contextlib.suppress(psycopg.OperationalError), database.connect() as connection:
            return Rows(database, connection).insert(person)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that still holds its connections and does nothing with them."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def renewal(rows: Rows, owner: object) -> None:
    """Wait until the owner's watch has been moved on."""
    statement = "select watched_until::text from private.event_cursor where owner = %s"
    before = rows.execute(statement, owner)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while rows.execute(statement, owner) == before:
            await asyncio.sleep(0)


def number(event_id: str | None) -> int:
    return int((event_id or "").partition(".")[2])
