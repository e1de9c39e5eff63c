"""Drains of no-op jobs over five connections of one process, ours and the rivals' in turn: jobs per second
between the first and the last that ended, so that nobody's start and stop count.

Both sides of a ratio drain the same backlog: each gets slower with more.

Whole is our path as it is. Bare is the queue alone: the same claim, with its slots and its fair order;
the same finish without what a no-op job does not have, a result and partial text;
and no trigger on private.job, so no events, no attempts, no count of what waits, and no check of the row.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from typing import LiteralString

import uvloop

from listener.queue import jobs
from tests.bench import rivals
from tests.bench.figures import Figure, at_least, median, shown
from tests.bench.ground import TEXTS, WITHOUT_LOG, Hand, ground, migrated
from tests.bench.rivals import Drain
from tests.fix_postgres import Cluster, Database

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
UVLOOP: LoopFactory = uvloop.new_event_loop

CONNECTIONS = 5
ROUNDS = 7
PEOPLE = 1000  # who asked for the jobs: each has rows of their own that a claim and a finish touch
SLOTS = 10
CONCURRENCY = 10  # procrastinate takes one job at a time; what it runs at once is its setting
FINISH_BARE = jobs.FINISH[jobs.FINISH.index("update") : jobs.FINISH.index("returning")] + "returning j.id"
BACKLOG_OF_ONES = 1_500
BACKLOG = 12_000  # half a second to one and a half on a quiet machine
BARE, BARE_ONE, WHOLE = "ours, bare, batch 10", "ours, bare, batch 1", "ours, whole, batch 10"
PGQUEUER, PROCRASTINATE = "pgqueuer, batch 10", "procrastinate"
# Who against whom, and at least how many times as fast.
GOALS = ((BARE, PGQUEUER, 2.5), (BARE_ONE, PROCRASTINATE, 3.0), (WHOLE, PGQUEUER, 1.2))


def measure(cluster: Cluster, *, rounds: int = ROUNDS) -> Iterator[Figure]:
    """The ratio is the median of the rounds' own ratios: what slows a whole round slows both sides of it."""
    rates: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as until_end:
        paths = open_paths(cluster, until_end)
        order = list(paths)
        for _ in range(rounds):
            order.append(order.pop(0))  # nobody always comes first
            for name in order:
                rates[name].append(rate(paths[name]()))
    for name, found in rates.items():
        yield shown(f"drain, {name}", median(found), "jobs/s")
    for name, rival, goal in GOALS:
        ratio = median(a / b for a, b in zip(rates[name], rates[rival], strict=True))
        yield at_least(f"drain, {name}, against {rival}", ratio, "x", goal)


def rate(moments: list[float]) -> float:
    return (len(moments) - 1) / (max(moments) - min(moments))


def open_paths(cluster: Cluster, until_end: ExitStack) -> dict[str, Callable[[], list[float]]]:
    """By name: drains once, and tells when each job ended."""
    enter = until_end.enter_context
    bare_database, whole_database = (enter(migrated(cluster, name)) for name in ("drain_bare", "drain_whole"))
    cluster.psql(bare_database.name, "-c", WITHOUT_LOG)
    bare, whole = (
        enter(running(ours(bare_database, FINISH_BARE, texts=()), UVLOOP)),
        enter(running(ours(whole_database, jobs.FINISH, texts=TEXTS), UVLOOP)),
    )
    # pgqueuer's own benchmark runs on this loop, and gains by it; so does whoever else speaks asyncpg.
    pgqueuer = enter(running(rivals.pgqueuer(cluster.create_database("drain_pgqueuer"), CONNECTIONS), UVLOOP))
    procrastinate = enter(
        running(rivals.procrastinate(cluster.create_database("drain_procrastinate"), CONNECTIONS))
    )
    return {
        BARE: lambda: bare(BACKLOG, 10),
        PGQUEUER: lambda: pgqueuer(BACKLOG, 10),
        WHOLE: lambda: whole(BACKLOG, 10),
        BARE_ONE: lambda: bare(BACKLOG_OF_ONES, 1),
        PROCRASTINATE: lambda: procrastinate(BACKLOG_OF_ONES, CONCURRENCY),
    }


@contextmanager
def running(
    opening: AbstractAsyncContextManager[Drain], loop_factory: LoopFactory | None = None
) -> Iterator[Callable[[int, int], list[float]]]:
    """On a loop of its own, which stands still while the others drain."""

    async def enter() -> Drain:
        return await opening.__aenter__()

    async def once(jobs: int, batch: int) -> list[float]:
        moments = await drain(jobs, batch)
        assert len(moments) == jobs, (len(moments), jobs)
        return moments

    async def leave() -> None:
        await opening.__aexit__(None, None, None)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        drain = runner.run(enter())
        try:
            yield lambda jobs, batch: runner.run(once(jobs, batch))
        finally:
            runner.run(leave())


@asynccontextmanager
async def ours(database: Database, finish: LiteralString, *, texts: tuple[str, ...]) -> AsyncIterator[Drain]:
    """Workers of one model, each with slots of its own. What a claim took ends in one finish."""
    async with ground(database, people=PEOPLE, slots=CONNECTIONS * SLOTS) as place:
        hands = [await place.hand(SLOTS) for _ in range(CONNECTIONS)]

        async def drain(jobs: int, batch: int) -> list[float]:
            await place.clear()
            await place.lay(jobs)
            await place.settle()
            moments: list[float] = []

            async def work(hand: Hand) -> None:
                while claimed := await hand.claim(batch, at=time.perf_counter()):
                    await hand.finish(claimed, statement=finish, texts=texts)
                    moments.extend([time.perf_counter()] * len(claimed))

            await asyncio.gather(*map(work, hands))
            return moments

        yield drain
