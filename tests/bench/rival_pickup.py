"""From commit to the start of the handler, ours against pgqueuer's: a real worker of each, asleep, and rows
one at a time. One clock, the machine's; commit is when the inserting client is told of it.

python -m tests.bench.rival_pickup DATABASE_URL      pgqueuer's worker: prints when each handler started
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import IO

import asyncpg
import psycopg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, SyncPsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries, SyncQueries

from tests.bench.figures import Figure, at_most, median, quantile, shown
from tests.bench.people import sign_up
from tests.bench.pickup import Once, repeat, through_precis
from tests.bench.processes import model_server, new_database, running, working
from tests.fix_postgres import Cluster

ROUNDS = 7
ROUND_INSERTS = 100
WARM_UP_INSERTS = 20
GOAL_RATIO = 0.7
ENTRYPOINT = "pickup"


def measure(cluster: Cluster) -> Iterator[Figure]:
    """Both workers run all the time, each on a database of its own; the one that is not asked sleeps."""
    rival = cluster.create_database("rival_pickup")
    asyncio.run(install(rival.url()))
    database = new_database(cluster, "pickup")
    (person,) = sign_up(database, 1)
    with (
        model_server() as url,
        working(database, url, slots=1) as stack,
        stack.work.log.open() as log,
        psycopg.connect(database.url("authenticator")) as client,
        psycopg.connect(rival.url(), autocommit=True) as rivals_client,
        running(rival.url(), module="tests.bench.rival_pickup") as started,
    ):
        log.seek(0, 2)
        queries = SyncQueries(SyncPsycopgDriver(rivals_client))
        ours = lambda: through_precis(client, log, person)  # noqa: E731
        theirs = lambda: through_pgqueuer(queries, started)  # noqa: E731
        yield from compare(ours, theirs)


def compare(ours: Once, theirs: Once) -> list[Figure]:
    """Each round's own ratio counts: what slows a round slows both."""
    for once in (ours, theirs):
        repeat(once, WARM_UP_INSERTS)
    rounds = [(repeat(ours, ROUND_INSERTS), repeat(theirs, ROUND_INSERTS)) for _ in range(ROUNDS)]
    ratio = median(median(mine) / median(its) for mine, its in rounds)
    return [
        *figures("a real worker of ours", [mine for mine, _ in rounds]),
        *figures("pgqueuer", [its for _, its in rounds]),
        at_most("pickup p50 against pgqueuer's", ratio, "x", GOAL_RATIO),
    ]


def figures(who: str, rounds: list[list[float]]) -> list[Figure]:
    return [
        shown(f"pickup by {who}, p50", median(median(found) for found in rounds), "ms"),
        shown(f"pickup by {who}, p99", median(quantile(found, 0.99) for found in rounds), "ms"),
    ]


def through_pgqueuer(queries: SyncQueries, started: IO[str]) -> float:
    """Seconds from commit to the start of the handler."""
    (number,) = queries.enqueue(ENTRYPOINT, None)
    committed_at = time.time()
    job, at = started.readline().split()
    assert int(job) == number
    return float(at) - committed_at


async def install(url: str) -> None:
    connection = await asyncpg.connect(url)
    await Queries(AsyncpgDriver(connection)).install()
    await connection.close()


async def work(url: str) -> None:
    """Its worker with its own defaults, on one connection."""
    consumer = PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))

    @consumer.entrypoint(ENTRYPOINT)
    async def start(job: Job) -> None:
        print(job.id, time.time(), flush=True)

    print("ready", flush=True)
    await consumer.run()


if __name__ == "__main__":
    uvloop.run(work(sys.argv[1]))  # as its own command does
