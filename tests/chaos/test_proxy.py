"""The network that can fail, on a real Postgres: what it does to a connection, and to no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.chaos.proxy import Fate, Proxy, proxied
from tests.fix_postgres import Database

pytestmark = pytest.mark.services

WRITE = "insert into written values ($1)"


@asynccontextmanager
async def behind(database: Database) -> AsyncIterator[Proxy]:
    with database.connect() as connection:
        connection.execute("create table written (n int)")
    async with proxied(database.cluster.port) as proxy:
        yield proxy


@asynccontextmanager
async def through(
    proxy: Proxy, database: Database, name: str = "some"
) -> AsyncIterator["asyncpg.Connection[Any]"]:
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{database.name}"
    connection = await asyncpg.connect(url, server_settings={"application_name": name})
    try:
        yield connection
    finally:
        connection.terminate()


def written(database: Database) -> list[tuple[object, ...]]:
    with database.connect() as connection:
        return connection.execute("select n from written").fetchall()


async def test_it_passes_on_what_it_is_given_however_large(database: Database) -> None:
    async with behind(database) as proxy, through(proxy, database) as connection:
        text = "x" * 1_000_000
        assert await connection.fetchval("select $1::text", text) == text


@pytest.mark.parametrize(("fate", "rows"), [("passes", [(1,)]), ("committed", [(1,)])])
async def test_a_write_meets_its_fate(database: Database, fate: Fate, rows: list[tuple[int]]) -> None:
    async with behind(database) as proxy, through(proxy, database) as connection:
        await connection.fetchval("select 1")
        with proxy.torn("insert into written", lambda: fate):
            outcome = await asyncio.gather(connection.execute(WRITE, 1), return_exceptions=True)
    assert written(database) == rows
    assert proxy.struck == isinstance(outcome[0], BaseException) == (fate != "passes")


async def test_a_write_of_unknown_fate_ends_with_an_error_and_leaves_others_alone(database: Database) -> None:
    async with (
        behind(database) as proxy,
        through(proxy, database) as torn,
        through(proxy, database) as other,
    ):
        with proxy.torn("insert into written", lambda: "unknown"):
            with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
                await torn.execute(WRITE, 1)
            assert await other.fetchval("select 1") == 1


async def test_the_dark_is_for_one_name_and_what_waits_in_it_passes_at_its_end(database: Database) -> None:
    async with (
        behind(database) as proxy,
        through(proxy, database, "work-notices") as deaf,
        through(proxy, database, "work") as other,
    ):
        with proxy.dark("-notices"):
            waiting = asyncio.ensure_future(deaf.fetchval("select 1"))
            assert await other.fetchval("select 2") == 2
            assert not waiting.done()
        assert await asyncio.wait_for(waiting, 10) == 1


async def test_a_severed_connection_is_reset_and_a_new_one_refused_until_the_end(database: Database) -> None:
    async with behind(database) as proxy:
        async with through(proxy, database) as connection:
            with proxy.severed():
                with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
                    await connection.fetchval("select 1")
                with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
                    async with through(proxy, database):
                        pass
        async with through(proxy, database) as again:
            assert await again.fetchval("select 1") == 1
