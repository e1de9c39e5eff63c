"""From POST to the final event, with a model that takes no time, against the same hops without our work."""

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from itertools import cycle

from tests.bench.figures import Figure, at_most, median, quantile, shown
from tests.fix_postgres import free_port
from tests.fix_stack import Stack
from tests.stack.client import Client, EventStream

ROUNDS = 5
ROUND_POSTS = 40
WARM_UP_POSTS = 20
PEOPLE = 20
GOAL_RATIO = 3.0
# The shortest text that is not its own summary already: the model is asked, and answers at once.
TEXT = "The harbour was closed for three days. Ships waited outside the bar."
WORDS = 7

Once = Callable[[], Awaitable[float]]


async def measure(stack: Stack) -> list[Figure]:
    """Many people post in turn: a stream tells each of them something ten times a second, no more."""
    async with AsyncExitStack() as open_until_end:
        people = [await open_until_end.enter_async_context(stack.sign_up()) for _ in range(PEOPLE)]
        streams = [await open_until_end.enter_async_context(client.watch()) for client in people]
        turns = cycle(zip(people, streams, strict=True))
        url = open_until_end.enter_context(bare_server(stack))
        bare = Client(people[0].http, stack.url("postgrest"), "", url, people[0].tokens)
        events = await open_until_end.enter_async_context(bare.watch())
        return await compare(lambda: through_precis(*next(turns)), lambda: through_bare(bare, events))


async def compare(ours: Once, floor: Once) -> list[Figure]:
    """Each round's own ratio counts: what slows a round slows both."""
    for once in (ours, floor):
        await repeat(once, WARM_UP_POSTS)
    rounds = [(await repeat(ours, ROUND_POSTS), await repeat(floor, ROUND_POSTS)) for _ in range(ROUNDS)]
    ratios = [median(found) / median(bare) for found, bare in rounds]
    return [
        shown("POST to final event, p50", median(median(found) for found, _ in rounds), "ms"),
        shown("POST to final event, p99", median(quantile(found, 0.99) for found, _ in rounds), "ms"),
        shown("POST to event, the bare hops, p50", median(median(found) for _, found in rounds), "ms"),
        at_most("POST to final event against the bare hops", median(ratios), "x", GOAL_RATIO),
    ]


async def repeat(once: Once, times: int) -> list[float]:
    return [1000 * await once() for _ in range(times)]


async def through_precis(client: Client, events: EventStream) -> float:
    """Seconds from the POST to the event that says done."""
    start = time.perf_counter()
    row = await client.insert(TEXT, target_words=WORDS)
    await events.state(row["id"], "done")
    return time.perf_counter() - start


async def through_bare(client: Client, events: EventStream) -> float:
    start = time.perf_counter()
    headers = {"Prefer": "return=representation"}
    answer = await client.rest("POST", "/bare", json={"text": TEXT}, headers=headers)
    wanted = answer.json[0]["id"]
    await events.until(lambda event: event.is_about(wanted))
    return time.perf_counter() - start


@contextmanager
def bare_server(stack: Stack) -> Iterator[str]:
    """The bare event server in a process of its own; yields its address."""
    port = str(free_port())
    where = [stack.database.url(), stack.url("postgrest"), port]
    command = [sys.executable, "-m", "tests.bench.bare", "serve", *where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
