"""What errors of the database mean: to a loop, to a start, to who asked, and to the log."""

import asyncio
from typing import LiteralString

import asyncpg
import pytest

from chassis.database import connect, passing, patiently, pool, refused, told, troubled
from chassis.errors import StartError
from tests.fix_postgres import Cluster

SECRET = "a sentence of a document"
RAISE: LiteralString = "do $$ begin raise exception 'injected' using errcode = '%s'; end $$"
STATES = (
    "57014", "55P03", "40P01", "40001", "53100", "53200", "0A000", "25006", "42P01", "53300", "57P01",
    "57P03", "54000", "58030", "XX000", "XX001", "42501", "22P02", "23505", "08006", "55000", "ZZ999",
)  # fmt: skip


def url_of(server: Cluster) -> str:
    return server.url("postgres", "postgres")


async def failed(server: Cluster, sql: str, *values: object) -> Exception:
    """The error of that statement."""
    connection = await connect(url_of(server), name="test")
    try:
        with pytest.raises(Exception) as caught:
            await connection.fetch(sql, *values)
    finally:
        await connection.close()
    return caught.value


@pytest.mark.parametrize("state", STATES)
async def test_a_loop_tries_again_whatever_the_database_says(server: Cluster, state: str) -> None:
    error = await failed(server, RAISE.replace("%s", state))
    assert getattr(error, "sqlstate", None) == state
    assert passing(error)


async def test_a_mistake_of_ours_is_no_error_of_the_database() -> None:
    for error in (KeyError("x"), ValueError("x"), AssertionError(), ZeroDivisionError(), RuntimeError("x")):
        assert not passing(error)
    assert not passing(ExceptionGroup("x", [TimeoutError(), KeyError()]))
    for error in (
        TimeoutError(),
        ConnectionResetError(),
        asyncpg.InterfaceError("x"),
        asyncpg.InternalClientError(),
    ):
        assert passing(error)
    assert passing(ExceptionGroup("x", [TimeoutError(), ConnectionResetError()]))


async def test_a_start_waits_for_a_database_that_is_down(server: Cluster) -> None:
    await asyncio.to_thread(server.stop)

    async def opened() -> object:
        async with pool(url_of(server), name="test", size=1, waits=True) as one:
            return await one.fetchval("select 1")

    starting = asyncio.create_task(opened())
    await asyncio.sleep(0)
    assert not starting.done()
    await asyncio.to_thread(server.start)
    assert await asyncio.wait_for(starting, 30) == 1


@pytest.mark.parametrize(
    ("role", "database", "says"),
    [
        ("postgres", "nowhere", "There is no such database"),
        ("nobody", "postgres", "does not let this role in"),
    ],
)
async def test_a_start_ends_with_a_sentence_where_the_url_is_wrong(
    server: Cluster, role: str, database: str, says: str
) -> None:
    with pytest.raises(StartError, match=says):
        async with pool(server.url(role, database), name="test", size=1, waits=True):
            pass


@pytest.mark.parametrize(
    "sql", ["select from private.worker", "select from no_table", "select no_column", "select no_function()"]
)
async def test_a_start_ends_where_the_schema_is_not_there(server: Cluster, sql: str) -> None:
    async with pool(url_of(server), name="test", size=1) as one:
        with pytest.raises(StartError, match="Run the migrations"):
            await patiently(lambda: one.fetch(sql))


async def test_data_that_is_refused_is_told_apart_and_quoted_nowhere(server: Cluster) -> None:
    for sql, value in (
        ("select $1::text::int", SECRET),
        ("select $1::text::json", SECRET),
        ("select $1::text", f"{SECRET}\0"),
        ("select $1::int", SECRET),
        ("select $1::text", f"{SECRET}\udcff"),
    ):
        error = await failed(server, sql, value)
        assert refused(error), sql
        assert not troubled(error), sql
        assert SECRET not in told(error), sql


async def test_who_asked_is_to_ask_again_unless_it_is_about_what_was_asked_or_a_mistake() -> None:
    for passes in (asyncpg.OutOfMemoryError("x"), asyncpg.FeatureNotSupportedError("x"), TimeoutError()):
        assert troubled(passes)
    for stays in (asyncpg.UndefinedTableError("x"), asyncpg.UniqueViolationError("x"), KeyError("x")):
        assert not troubled(stays)
