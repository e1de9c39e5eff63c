"""What makes a claim slow elsewhere, each beside the same claim without it: a million rows of ten thousand
people, plans made for empty tables, a snapshot that keeps every dead row. Two databases of one server take
turns, so that what slows the machine slows both."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from chassis.database import connect
from tests.bench.figures import Figure, at_most, median, quantile, shown
from tests.bench.ground import WITHOUT_LOG, Ground, Hand, ground, migrated
from tests.fix_postgres import Cluster

ROUNDS = 7
ROUND_CLAIMS = 250
FREE = 2  # slots, as a worker between two jobs has
SLOTS = 20
MANY_ROWS, MANY_PEOPLE = 1_000_000, 10_000
FEW_ROWS = 1_000
STALE_ROWS, STALE_PEOPLE = 100_000, 1_000
# A snapshot is held while rows pass: a tick lays as many as are claimed in it. Of so many people: a claim
# looks over the dead rows of nine rounds, in each of which everybody who waits has one.
HELD_PEOPLE = 100
PASSING_PER_SECOND = 1_000
TICK_ROWS = 20
CLAIM_ROWS = 10
GOAL_MANY = GOAL_STALE = 1.2
GOAL_HELD = 1.5

WITHOUT_AUTOVACUUM = """
alter table private.job set (autovacuum_enabled = off);
alter table private.request set (autovacuum_enabled = off);
"""

Sample = list[float]


@dataclass(frozen=True, slots=True)
class Side:
    """A database and a worker in it."""

    place: Ground
    hand: Hand

    async def timed_claim(self, free: int = FREE) -> float:
        """Milliseconds of a claim; what it took is finished, untimed."""
        started = time.perf_counter()
        claimed = await self.hand.claim(free, at=started)
        taken = time.perf_counter() - started
        assert len(claimed) == free
        await self.hand.finish(claimed)
        return 1000 * taken


def measure(
    cluster: Cluster, *, minutes: float = 1.0, rounds: int = ROUNDS, many: int = MANY_ROWS
) -> Iterator[Figure]:
    """`minutes` is how long a snapshot is held, each time."""
    yield from asyncio.run(with_many_rows(cluster, rounds, many))
    yield from asyncio.run(with_stale_plans(cluster, rounds))
    yield from asyncio.run(with_held_snapshot(cluster, 60 * minutes))
    yield from asyncio.run(with_held_snapshot(cluster, 60 * minutes, whole=True))


async def with_many_rows(cluster: Cluster, rounds: int, rows: int) -> list[Figure]:
    async with sides(cluster, many=MANY_PEOPLE, few=1) as (many, few):
        await many.place.lay(rows)
        await many.place.settle()
        found = []
        for _ in range(rounds):
            await few.place.clear()
            await few.place.lay(FEW_ROWS + FREE * ROUND_CLAIMS // 2)  # so many on average
            await few.place.settle()
            found.append(await in_turn(many, few, ROUND_CLAIMS))
    return compared(f"{rows:,} rows of {MANY_PEOPLE:,} people", "1,000 rows of one", found, GOAL_MANY)


async def with_stale_plans(cluster: Cluster, rounds: int) -> list[Figure]:
    """Both workers have claimed on empty tables; one database is analysed when it is full."""
    async with sides(cluster, stale=STALE_PEOPLE, fresh=STALE_PEOPLE) as (stale, fresh):
        for side in (stale, fresh):
            # Nothing may analyse the tables meanwhile.
            cluster.psql(side.place.database.name, "-c", WITHOUT_AUTOVACUUM)
            await side.place.lay(FREE)
            await side.timed_claim()
            await side.place.clear()
            await side.place.settle()  # the statistics of empty tables
            assert not await side.hand.claim(FREE, at=time.perf_counter())
            await side.place.lay(STALE_ROWS)
        await fresh.place.settle()
        found = [await in_turn(stale, fresh, ROUND_CLAIMS) for _ in range(rounds)]
    return compared("plans cached on empty tables", "fresh ones", found, GOAL_STALE)


async def with_held_snapshot(cluster: Cluster, seconds: float, *, whole: bool = False) -> list[Figure]:
    """Of the last fifth of the time, in rounds: by then the dead rows are there. The claim alone, or with
    what its trigger does, whose counters get a dead row each time as well."""
    async with sides(cluster, held=HELD_PEOPLE, free=HELD_PEOPLE) as (held, free):
        for side in (held, free) if not whole else ():
            cluster.psql(side.place.database.name, "-c", WITHOUT_LOG)
        for side in (held, free):
            await side.place.lay(FEW_ROWS)
            await side.place.settle()
        async with snapshot(held):
            started = time.perf_counter()
            ticks = int(seconds * PASSING_PER_SECOND / TICK_ROWS)
            samples = [await pass_rows(held, free, started + tick * TICK_ROWS / PASSING_PER_SECOND)
                       for tick in range(ticks)]  # fmt: skip
            rate = ticks * TICK_ROWS / (time.perf_counter() - started)
    last = samples[-ticks // 5 :]
    size = max(1, len(last) // ROUNDS)
    found = [_joined(last[start : start + size]) for start in range(0, size * ROUNDS, size)]
    name = f"a snapshot held for {seconds:g} s"
    passed = shown(f"rows per second that passed under {name}", rate, "per s")
    figures = [passed, *compared(name, "none", found, GOAL_HELD)]
    return [replace(each, name=f"{each.name}, whole") for each in figures] if whole else figures


async def pass_rows(held: Side, free: Side, at: float) -> tuple[Sample, Sample]:
    """Not before `at`, as many rows as a tick has come and go on both sides."""
    await asyncio.sleep(at - time.perf_counter())
    for side in (held, free):
        await side.place.lay(TICK_ROWS)
    return await in_turn(held, free, TICK_ROWS // CLAIM_ROWS, free_slots=CLAIM_ROWS)


async def in_turn(one: Side, other: Side, claims: int, *, free_slots: int = FREE) -> tuple[Sample, Sample]:
    pairs = [(await one.timed_claim(free_slots), await other.timed_claim(free_slots)) for _ in range(claims)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def compared(name: str, than: str, rounds: list[tuple[Sample, Sample]], goal: float) -> list[Figure]:
    """The ratio is the median of the rounds' own ratios."""
    ratios = [quantile(a, 0.99) / quantile(b, 0.99) for a, b in rounds]
    return [
        shown(f"claim, {than}, p50", median(quantile(b, 0.5) for _, b in rounds), "ms"),
        shown(f"claim, {than}, p99", median(quantile(b, 0.99) for _, b in rounds), "ms"),
        shown(f"claim, {name}, p50", median(quantile(a, 0.5) for a, _ in rounds), "ms"),
        shown(f"claim, {name}, p99", median(quantile(a, 0.99) for a, _ in rounds), "ms"),
        at_most(f"claim p99, {name} against {than}", median(ratios), "x", goal),
    ]


def _joined(samples: list[tuple[Sample, Sample]]) -> tuple[Sample, Sample]:
    return [ms for one, _ in samples for ms in one], [ms for _, other in samples for ms in other]


@asynccontextmanager
async def sides(cluster: Cluster, **people: int) -> AsyncIterator[list[Side]]:
    """A database for each name, with so many people."""
    async with AsyncExitStack() as until_end:
        made = []
        for name, count in people.items():
            database = until_end.enter_context(migrated(cluster, f"claims_{name}"))
            place = await until_end.enter_async_context(ground(database, people=count, slots=SLOTS))
            made.append(Side(place, await place.hand(SLOTS)))
        yield made


@asynccontextmanager
async def snapshot(side: Side) -> AsyncIterator[None]:
    """A transaction that has looked at its database, and stays open."""
    connection = await connect(side.place.database.url(), name="snapshot")
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("select count(*) from private.model")
            yield
    finally:
        await connection.close()
