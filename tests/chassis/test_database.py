"""Connecting: to the host that takes writes whatever the others do, and again after it went away."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import psycopg
import pytest

from chassis import database
from chassis.database import (
    Connection,
    NoPrimaryError,
    Pool,
    connect,
    connection_lost,
    pool,
    split_hosts,
)
from tests.chassis.fix_replicas import Pair, frozen, silent_host
from tests.fix_postgres import Cluster, free_port


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Connection]:
    connection = await connect(url, name="test", **options)
    try:
        yield connection
    finally:
        await connection.close()


async def port_of(url: str) -> int:
    """The port of the host that a connection ends at."""
    async with connected(url) as connection:
        return int(await connection.fetchval("show port"))


async def pid_of(pool: Pool) -> int:
    return int(await pool.fetchval("select pg_backend_pid()"))


def url_of(server: Cluster) -> str:
    return server.url("postgres", "postgres")


def wait_for_no_other_session(cluster: Cluster) -> None:
    query = "select count(*) from pg_stat_activity where application_name = 'test'"
    with psycopg.connect(url_of(cluster), autocommit=True) as session:
        deadline = time.monotonic() + 10
        while session.execute(query).fetchone() != (0,):
            assert time.monotonic() < deadline, "a session was left open"


async def test_a_connection_is_known_to_the_server_by_its_name(server: Cluster) -> None:
    async with connected(url_of(server)) as connection:
        assert await connection.fetchval("show application_name") == "test"


async def test_further_server_settings_are_kept_beside_the_name(server: Cluster) -> None:
    async with connected(url_of(server), server_settings={"work_mem": "5MB"}) as connection:
        assert await connection.fetchval("show work_mem") == "5MB"
        assert await connection.fetchval("show application_name") == "test"


@pytest.mark.parametrize(
    "form", ["postgresql://postgres@/postgres?host={}&port={}", "postgresql://postgres@{}:{}/postgres"]
)
async def test_a_socket_in_a_folder_is_reached(server: Cluster, form: str) -> None:
    folder = str(server.folder) if "?" in form else str(server.folder).replace("/", "%2F")
    assert await port_of(form.format(folder, server.port)) == server.port


async def test_the_primary_is_found_wherever_it_is_listed(pair: Pair) -> None:
    assert await port_of(pair.url(pair.primary, pair.standby)) == pair.primary.port
    assert await port_of(pair.url(pair.standby, pair.primary)) == pair.primary.port


async def test_a_single_host_is_taken_as_it_is(pair: Pair) -> None:
    assert await port_of(pair.url(pair.standby)) == pair.standby.port


async def test_what_only_libpq_understands_in_a_url_does_no_harm(pair: Pair) -> None:
    url = pair.url(pair.standby, pair.primary) + "?target_session_attrs=read-write&connect_timeout=2"
    assert await port_of(url) == pair.primary.port


async def test_a_host_that_hangs_does_not_hold_up_the_others(pair: Pair) -> None:
    began = time.monotonic()
    with silent_host() as port:
        url = pair.url(pair.primary, pair.standby).replace("@", f"@127.0.0.1:{port},")
        assert await port_of(url) == pair.primary.port
    assert time.monotonic() - began < database.HOST_SECONDS


async def test_a_host_that_is_down_does_not_matter(pair: Pair) -> None:
    url = pair.url(pair.primary).replace("@", f"@127.0.0.1:{free_port()},")
    assert await port_of(url) == pair.primary.port


async def test_hosts_that_lost_the_race_keep_no_session(pair: Pair) -> None:
    for _ in range(3):
        await port_of(pair.url(pair.standby, pair.primary))
    wait_for_no_other_session(pair.standby)


async def test_without_a_primary_each_host_is_told_with_its_reason(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "HOST_SECONDS", 0.3)
    with silent_host() as silent, pytest.raises(NoPrimaryError) as caught:
        await connect(pair.url(pair.standby).replace("@", f"@127.0.0.1:{silent},"), name="test")
    assert f"127.0.0.1:{pair.standby.port}: in recovery" in str(caught.value)
    assert f"127.0.0.1:{silent}: TimeoutError" in str(caught.value)
    assert connection_lost(caught.value)


async def test_what_no_new_try_will_change_is_raised_as_it_is(pair: Pair) -> None:
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await connect(pair.url(pair.standby, pair.primary, database="nowhere"), name="test")


async def test_of_two_primaries_the_elected_one_is_taken(own_pair: Pair) -> None:
    own_pair.promote()
    assert await port_of(own_pair.url(own_pair.primary, own_pair.standby)) == own_pair.standby.port
    assert await port_of(own_pair.url(own_pair.standby, own_pair.primary)) == own_pair.standby.port
    wait_for_no_other_session(own_pair.primary)


async def test_a_pool_follows_the_primary_to_another_host(own_pair: Pair) -> None:
    async with pool(own_pair.url(own_pair.primary, own_pair.standby), name="test", size=2) as both:
        assert await both.fetchval("show port") == str(own_pair.primary.port)
        own_pair.primary.stop("immediate")
        own_pair.promote()
        assert await both.fetchval("show port") == str(own_pair.standby.port)
        own_pair.primary.start()


async def test_a_race_that_is_cancelled_leaves_nothing_open(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SECOND_ANSWER_SECONDS", 60.0)
    monkeypatch.setattr(database, "HOST_SECONDS", 60.0)
    with silent_host() as port, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await connect(pair.url(pair.primary).replace("@", f"@127.0.0.1:{port},"), name="test")
    wait_for_no_other_session(pair.primary)


async def test_the_connections_of_a_pool_carry_its_name_and_are_bounded(
    server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ACQUIRE_SECONDS", 0.5)
    async with pool(url_of(server), name="test", size=2) as two, two.acquire() as first, two.acquire():
        assert await first.fetchval("show application_name") == "test"
        with pytest.raises(TimeoutError):
            await two.acquire()


async def test_an_unreachable_server_ends_the_start_of_a_pool() -> None:
    with pytest.raises(ConnectionRefusedError):
        async with pool(f"postgresql://postgres@127.0.0.1:{free_port()}/x", name="test", size=2):
            pass


async def test_a_terminated_connection_is_replaced_and_not_handed_out(server: Cluster) -> None:
    async with pool(url_of(server), name="test", size=1) as one:
        gone = await pid_of(one)
        server.psql("postgres", "-c", f"select pg_terminate_backend({gone}, 5000)")
        time.sleep(2 * database.PROBE_AFTER_IDLE_SECONDS)  # nor does the loop see it close
        assert await pid_of(one) != gone


async def test_all_connections_of_a_pool_survive_a_restarted_server(server: Cluster) -> None:
    async with pool(url_of(server), name="test", size=4) as four:
        await asyncio.gather(*(four.fetchval("select pg_sleep(0.05)") for _ in range(4)))
        assert four.get_size() == 4
        server.stop("immediate")
        server.start()
        assert await asyncio.gather(*(four.fetchval("select 1") for _ in range(4))) == [1] * 4


async def test_a_pool_fails_at_once_while_the_server_is_down_and_works_when_it_is_back(
    server: Cluster,
) -> None:
    async with pool(url_of(server), name="test", size=2) as two:
        server.stop()
        began = time.monotonic()
        with pytest.raises(Exception) as caught:
            await two.fetchval("select 1")
        assert connection_lost(caught.value)
        assert time.monotonic() - began < 1
        server.start()
        assert await two.fetchval("select 1") == 1


async def test_a_query_cut_by_a_restart_counts_as_lost(server: Cluster) -> None:
    async with connected(url_of(server)) as connection, asyncio.TaskGroup() as group:
        query = group.create_task(lost(connection))
        await asyncio.sleep(0)
        await asyncio.to_thread(server.stop, "immediate")
        assert await query
        server.start()


async def lost(connection: Connection) -> bool:
    try:
        await connection.execute("select pg_sleep(60)")
    except Exception as error:
        return connection_lost(error)
    return False


async def test_a_closed_connection_counts_as_lost(server: Cluster) -> None:
    async with connected(url_of(server)) as connection:
        pass
    assert await lost(connection)


async def test_a_connection_that_froze_while_idle_is_not_handed_out(
    server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "HOST_SECONDS", 0.1)
    monkeypatch.setattr(database, "PROBE_AFTER_IDLE_SECONDS", 0.0)
    async with pool(url_of(server), name="test", size=1) as one:
        await one.fetchval("select 1")
        with frozen(stuck := await pid_of(one)):
            began = time.monotonic()
            assert await pid_of(one) != stuck
            assert time.monotonic() - began < database.ACQUIRE_SECONDS / 2


async def test_a_server_that_freezes_under_a_query_costs_one_timeout(
    server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PROBE_AFTER_IDLE_SECONDS", 60.0)
    async with pool(url_of(server), name="test", size=1, command_timeout=0.2) as one:
        with frozen(stuck := await pid_of(one)):
            with pytest.raises(TimeoutError):
                await one.fetchval("select 1")
            assert await pid_of(one) != stuck


async def test_a_demoted_host_is_left_by_the_whole_pool(server: Cluster) -> None:
    async with pool(url_of(server), name="test", size=1) as one:
        before = await pid_of(one)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as caught:
            async with one.acquire() as connection, connection.transaction(readonly=True):
                await connection.execute("create table never ()")
        assert connection_lost(caught.value)
        assert await pid_of(one) != before


async def test_a_pool_closes_even_if_a_connection_is_never_given_back(
    server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CLOSE_SECONDS", 0.1)
    async with pool(url_of(server), name="test", size=1) as one:
        await one.acquire()
    wait_for_no_other_session(server)


async def test_a_refusal_by_the_server_is_no_lost_connection(server: Cluster) -> None:
    async with connected(url_of(server)) as connection:
        with pytest.raises(asyncpg.PostgresError) as caught:
            await connection.execute("select 1 / 0")
    assert not connection_lost(caught.value)


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (asyncpg.AdminShutdownError("x"), True),
        (asyncpg.CrashShutdownError("x"), True),
        (asyncpg.CannotConnectNowError("x"), True),
        (asyncpg.ConnectionDoesNotExistError("x"), True),
        (asyncpg.TooManyConnectionsError("x"), True),
        (asyncpg.InternalClientError("got result for unknown protocol state 3"), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.InterfaceError("pool is closing"), True),
        (ConnectionResetError(), True),
        (FileNotFoundError("no such socket"), True),
        (TimeoutError(), True),
        (ExceptionGroup("x", [TimeoutError(), ConnectionResetError()]), True),
        (ExceptionGroup("x", [TimeoutError(), KeyError()]), False),
        (asyncpg.InterfaceError("another operation is in progress"), False),
        (asyncpg.UniqueViolationError("x"), False),
        (asyncpg.QueryCanceledError("x"), False),
        (asyncpg.InvalidPasswordError("x"), False),
        (asyncpg.DataError("x"), False),
        (KeyError("closed"), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_what_reconnecting_may_help_is_told_from_what_it_may_not(error: BaseException, is_lost: bool) -> None:
    assert connection_lost(error) is is_lost


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@h/d", [("h", 5432)]),
        ("postgresql://u:p@a:1,b:2/d", [("a", 1), ("b", 2)]),
        ("postgresql://u@a,b/d?port=7", [("a", 7), ("b", 7)]),
        ("postgresql://u@[::1]:1,b/d", [("::1", 1), ("b", 5432)]),
        ("postgresql://u@/d?host=/s,b&port=1,2", [("/s", 1), ("b", 2)]),
        ("postgresql://u@%2Fs%3A:9/d", [("/s:", 9)]),
    ],
)
def test_the_hosts_of_a_url_are_read_as_libpq_does(url: str, hosts: list[tuple[str, int]]) -> None:
    assert split_hosts(url)[1] == hosts
