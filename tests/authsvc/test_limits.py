"""Token buckets and failure counters, shared through the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

import psycopg
import pytest

from authsvc.errors import RateLimitedError, SignInBlockedError
from authsvc.limits import Limit, Limits
from chassis.database import Pool, pool
from tests.fix_postgres import Database

pytestmark = pytest.mark.services

TEN = Limit("ten", capacity=10, seconds=60)
SECRET = bytes(32)


@pytest.fixture
async def opened(database: Database) -> AsyncIterator[Pool]:
    async with pool(database.url("authsvc"), name="test", size=8) as opened:
        yield opened


@pytest.fixture
def limits(opened: Pool) -> Limits:
    return Limits(opened, SECRET)


def pass_seconds(database: Database, seconds: float) -> None:
    with database.connect() as connection:
        connection.execute(
            "update private.rate_bucket set refilled_at = refilled_at - %s * interval '1 s'", [seconds]
        )


async def admitted(*tries: Awaitable[None]) -> int:
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, RateLimitedError) for outcome in outcomes), outcomes
    return outcomes.count(None)


async def test_of_a_hundred_parallel_calls_over_three_processes_exactly_ten_are_admitted(
    opened: Pool,
) -> None:
    processes = [Limits(opened, SECRET) for _ in range(3)]
    assert await admitted(*(processes[n % 3].spend(TEN, "someone") for n in range(100))) == 10


async def test_others_are_not_limited_by_it(limits: Limits) -> None:
    await admitted(*(limits.spend(TEN, "someone") for _ in range(20)))
    await limits.spend(TEN, "someone else")
    await limits.spend(Limit("another", 10, 60), "someone")


async def test_it_refills_with_time_and_says_how_long_that_takes(database: Database, opened: Pool) -> None:
    limits = Limits(opened, SECRET)
    await admitted(*(limits.spend(TEN, "someone") for _ in range(10)))
    with pytest.raises(RateLimitedError) as refused:
        await limits.spend(TEN, "someone")
    assert refused.value.headers["Retry-After"] == "6"
    assert refused.value.body["details"] == {"retry_after": 6}
    pass_seconds(database, 13)
    assert await admitted(*(Limits(opened, SECRET).spend(TEN, "someone") for _ in range(5))) == 2


async def test_a_flood_of_refused_calls_does_not_reach_the_database(
    database: Database, limits: Limits
) -> None:
    await admitted(*(limits.spend(TEN, "someone") for _ in range(11)))
    pass_seconds(database, 60)  # the database would admit it again, but is not asked
    with pytest.raises(RateLimitedError):
        await limits.spend(TEN, "someone")


async def test_five_failures_are_free_and_then_the_wait_doubles(database: Database, limits: Limits) -> None:
    waits = []
    for _ in range(18):
        try:
            await limits.count_failure("ada@example.org")
        except RateLimitedError as refused:
            wait = int(refused.headers["Retry-After"])
            waits.append(wait)
            pass_seconds(database, wait)
            await limits.count_failure("ada@example.org")
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


async def test_of_fifty_parallel_tries_at_one_account_only_five_are_made(limits: Limits) -> None:
    assert await admitted(*(limits.count_failure("ada@example.org") for _ in range(50))) == 5


async def test_a_success_forgets_the_failures(limits: Limits) -> None:
    await admitted(*(limits.count_failure("ada@example.org") for _ in range(6)))
    await limits.forget_failures("ada@example.org")
    assert await admitted(*(limits.count_failure("ada@example.org") for _ in range(6))) == 5


async def test_a_hundred_failures_in_a_row_block_until_somebody_lifts_it(
    database: Database, limits: Limits
) -> None:
    await limits.count_failure("ada@example.org")
    with database.connect() as connection:
        connection.execute("update private.rate_bucket set tokens = 100")
    pass_seconds(database, 365 * 86400)
    await limits.prune()
    with pytest.raises(SignInBlockedError):
        await limits.count_failure("ada@example.org")
    await limits.forget_failures("ada@example.org")
    await limits.count_failure("ada@example.org")


async def test_pruning_removes_full_buckets_and_old_counters_only(database: Database, limits: Limits) -> None:
    await limits.spend(TEN, "someone")
    await limits.count_failure("ada@example.org")
    await limits.prune()
    assert count(database) == 2
    pass_seconds(database, 3 * 3600)
    await limits.prune()
    assert count(database) == 1
    pass_seconds(database, 91 * 86400)
    await limits.prune()
    assert count(database) == 0


async def test_what_is_stored_names_nobody(database: Database, limits: Limits) -> None:
    await limits.spend(TEN, "192.0.2.1/32")
    await limits.count_failure("ada@example.org")
    with psycopg.connect(database.url()) as connection:
        keys = connection.execute("select key from private.rate_bucket").fetchall()
    assert all(len(key) == 21 and b"192" not in key and b"ada" not in key for (key,) in keys)


def count(database: Database) -> int:
    with psycopg.connect(database.url()) as connection:
        return len(connection.execute("select from private.rate_bucket").fetchall())
