"""Which incarnation of the event log readers tell, and how a new one begins."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chassis.database import pool
from listener.events.reader import Reader
from tests.fix_events import PATIENCE_SECONDS, Rows
from tests.fix_postgres import Database
from tests.fix_tokens import Tokens

pytestmark = pytest.mark.services

WAITING = """
select 1 from pg_stat_activity where application_name = 'reader' and cardinality(pg_blocking_pids(pid)) > 0"""


@asynccontextmanager
async def reader_of(database: Database) -> AsyncIterator[Reader]:
    """A reader as another process has it."""
    async with pool(database.url("listener_events"), name="reader", size=1) as connections:
        yield Reader(connections)


async def waiting(rows: Rows, count: int) -> None:
    """Until so many wait to begin an incarnation."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(rows.execute(WAITING)) < count:
            await asyncio.sleep(0)


async def test_readers_that_race_for_a_new_incarnation_agree(
    database: Database, tokens: Tokens, rows: Rows
) -> None:
    claims = json.dumps(tokens.person().claims())
    rows.execute("truncate private.event_incarnation")
    async with reader_of(database) as one, reader_of(database) as two, asyncio.TaskGroup() as group:
        with database.connect() as obstacle, obstacle.transaction():
            obstacle.execute("lock table private.event_incarnation in share mode")
            racing = [group.create_task(reader.head(claims)) for reader in (one, two)]
            await waiting(rows, 2)
        heads = {await head for head in racing}
        assert heads == {await one.head(claims)}
    assert len(heads) == 1


async def test_an_incarnation_stays_as_long_as_its_row(
    database: Database, tokens: Tokens, rows: Rows
) -> None:
    claims = json.dumps(tokens.person().claims())
    async with reader_of(database) as one, reader_of(database) as two:
        first = await one.head(claims)
        assert await two.head(claims) == first
        rows.execute("truncate private.event_incarnation")  # as Postgres does when it recovers from a crash
        assert (await one.head(claims)).incarnation != first.incarnation


async def test_a_dump_restored_over_its_own_database_begins_a_new_incarnation(
    database: Database, tokens: Tokens
) -> None:
    claims = json.dumps(tokens.person().claims())
    url, file = database.url(), f"{database.name}.dump"
    async with reader_of(database) as reader:
        before = await reader.head(claims)
    database.cluster.run("pg_dump", "-Fc", "-f", file, url)
    database.cluster.run("pg_restore", "--clean", "-d", url, file)
    async with reader_of(database) as reader:
        assert (await reader.head(claims)).incarnation != before.incarnation
