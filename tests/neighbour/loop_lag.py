"""How late the loops of worker and engine are, and how long /readyz takes, while they work on 20 texts of 1
MB of the worst kinds: python -m tests.neighbour.loop_lag [TEXTS [SECONDS]]

By hand: what it prints depends on what else the machine does.
"""

import asyncio
import contextlib
import itertools
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp

from tests.bench.figures import quantile
from tests.fix_postgres import Database, running_cluster
from tests.fix_stack import Stack, running_stack
from tests.fix_work import Desk
from tests.listener.tasks.script import sentences
from tests.part import Part

BYTES = 1 << 20
DEFAULTS = (20, 3600)  # texts, seconds at most
EVERY_SECONDS = 0.02
ENDED = "select state, error_code, extract(epoch from finished_at - started_at)::real from private.job"
WORK = {"slots_per_model": 8, "context_tokens": 2_000_000, "first_token_seconds": 300, "idle_seconds": 300}
GOALS = {"lag": 0.05, "readyz": 0.1}

KINDS: dict[str, Callable[[], str]] = {
    "one word": lambda: "x" * BYTES,
    "CJK without stops": lambda: "\u6f22\u5b57" * (BYTES // 6),
    "emphasis": lambda: "*a " * (BYTES // 3),
    "brackets": lambda: "a" + "[" * (BYTES - 1),
    "addresses": lambda: "http://a.example/b?c=d " * (BYTES // 23),
    "short sentences": lambda: "He ran. " * (BYTES // 8),
    "emoji": lambda: "a\n\n" + "\U0001f64f\n\n" * (BYTES // 6 - 1),
    "one line": lambda: sentences(BYTES // 65),
    "digits": lambda: "1234567890" * (BYTES // 10),
    "at signs": lambda: "a@a." * (BYTES // 4),
}


@dataclass
class Felt:
    """What was measured of one process."""

    part: Part
    readyz: list[float] = field(default_factory=list)

    def lags(self) -> dict[float, float]:
        """How many looks were at most so late, by the upper bound in seconds."""
        page = urllib.request.urlopen(self.part.health.replace("/readyz", "/metrics")).read().decode()
        prefix = 'precis_loop_lag_seconds_bucket{le="'
        found = (line.removeprefix(prefix).split('"} ') for line in page.splitlines() if prefix in line)
        return {float(bound): float(count) for bound, count in found}


def main(texts: int, seconds: float) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of everything that has to be stopped
    with running_cluster() as cluster:
        database = cluster.create_database("lag")
        cluster.dbmate("lag", "up")
        with running_stack(database, parts=("engine", "listener work"), work=WORK) as stack:
            asyncio.run(measure(database, stack, texts, seconds))


async def measure(database: Database, stack: Stack, texts: int, seconds: float) -> None:
    felt = [Felt(stack.work), Felt(stack.engine)]
    before = [each.lags() for each in felt]
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as opened, asking(felt):
        desk = Desk(database, opened)
        kinds = dict(zip(range(texts), itertools.cycle(KINDS), strict=False))
        asked = {await asyncio.to_thread(ask, desk, n, kind): kind for n, kind in kinds.items()}
        everything = "select from private.job having count(*) filter (where finished_at is null) = 0"
        with contextlib.suppress(TimeoutError):
            await desk.until(everything, within=seconds)
        for request, kind in asked.items():
            state, code, took = desk.query(f"{ENDED} where request_id = %s", request)[0]
            print(f"{kind:<20} {state:<8} {code or '':<18} {took or 0:8.1f} s")
    print(f"\n{texts} texts in {time.monotonic() - began:.0f} s")
    for each, then in zip(felt, before, strict=True):
        tell(each, then)


def ask(desk: Desk, n: int, kind: str) -> UUID:
    """The n-th request, each of another person: both tasks, some with a text that is passed through."""
    options = [{"target_words": 200}, {"task": "shorten", "target_ratio": 0.5}, {"target_words": 20_000}]
    return desk.ask(desk.person(), KINDS[kind](), **options[n % 3])


def tell(felt: Felt, before: dict[float, float]) -> None:
    late = {bound: count - before[bound] for bound, count in felt.lags().items()}
    looks = late[float("inf")]
    p99 = min(bound for bound, count in late.items() if count >= 0.99 * looks)
    print(
        f"{felt.part.name:<14} loop lag p99 <= {p99 * 1000:.0f} ms, {late[0.05] / looks:.2%} <= 50 ms"
        f" of {looks:.0f} looks;  /readyz p50 {quantile(felt.readyz, 0.5) * 1000:.1f}"
        f" p99 {quantile(felt.readyz, 0.99) * 1000:.1f} max {max(felt.readyz) * 1000:.1f} ms"
        f" of {len(felt.readyz)};  goals {GOALS}"
    )


@contextlib.asynccontextmanager
async def asking(felt: list[Felt]) -> AsyncIterator[None]:
    """Each process's /readyz, one question after the other, until the end of the block."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http:
        asked = [asyncio.ensure_future(_ask(http, each)) for each in felt]
        try:
            yield
        finally:
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)


async def _ask(http: aiohttp.ClientSession, felt: Felt) -> None:
    while True:
        at = time.perf_counter()
        async with http.get(felt.part.health) as answer:
            await answer.read()
        felt.readyz.append(time.perf_counter() - at)
        await asyncio.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*given, *DEFAULTS[len(given) :])
