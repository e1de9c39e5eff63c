"""From POST to the final event, with a model that takes no time, against the same hops without our work."""

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import cycle

from tests.bench.bare import INSTANT
from tests.bench.figures import Figure, at_most, median, quantile, shown
from tests.bench.processes import running
from tests.fix_postgres import free_port
from tests.fix_stack import Stack
from tests.stack.client import Client, EventStream

ROUNDS = 5
ROUND_POSTS = 40
WARM_UP_POSTS = 20
PEOPLE = 20
GOAL_RATIO = 3.0
# The shortest text that is not its own summary already: the model is asked, and answers at once.
TEXT = "The harbour of port {} was closed for {} days. Ships waited outside the bar until it was opened."
WORDS = 10

Once = Callable[[], Awaitable[float]]


async def measure(stack: Stack, model_url: str) -> list[Figure]:
    """Many people post in turn: a stream tells each of them something ten times a second, no more."""
    async with AsyncExitStack() as until_end:
        people = [await until_end.enter_async_context(stack.sign_up()) for _ in range(PEOPLE)]
        streams = [await until_end.enter_async_context(client.watch()) for client in people]
        turns = cycle(zip(people, streams, strict=True))
        queue = await open_floor(stack, people[0], "bare_queue", "bare_done", until_end, model_url)
        echo = await open_floor(stack, people[0], "bare_echo", "bare_echo", until_end, model_url)
        return await compare({"ours": lambda: through_precis(*next(turns)), "queue": queue, "echo": echo})


async def compare(paths: dict[str, Once]) -> list[Figure]:
    """Each round's own ratio counts: what slows a round slows all."""
    for once in paths.values():
        await repeat(once, WARM_UP_POSTS)
    rounds = [{name: await repeat(once, ROUND_POSTS) for name, once in paths.items()} for _ in range(ROUNDS)]

    def p50(path: str) -> float:
        return median(median(found[path]) for found in rounds)

    def ratio(path: str) -> float:
        return median(median(found["ours"]) / median(found[path]) for found in rounds)

    return [
        shown("POST to final event, p50", p50("ours"), "ms"),
        shown("POST to final event, p99", median(quantile(found["ours"], 0.99) for found in rounds), "ms"),
        shown("bare POST, read, SSE, p50", p50("echo"), "ms"),
        shown("POST to final event against POST, read, SSE alone", ratio("echo"), "x"),
        shown("the floor of the same hops (claim, model call, finish as well), p50", p50("queue"), "ms"),
        at_most("POST to final event against the floor of the same hops", ratio("queue"), "x", GOAL_RATIO),
    ]


def draw_text() -> str:
    return TEXT.format(random.randrange(10_000, 100_000), random.randrange(10, 100))


async def repeat(once: Once, times: int) -> list[float]:
    return [1000 * await once() for _ in range(times)]


async def through_precis(client: Client, events: EventStream) -> float:
    """Seconds from the POST to the event that says done."""
    text = draw_text()
    start = time.perf_counter()
    row = await client.insert(text, target_words=WORDS, model=INSTANT)
    await events.state(row["id"], "done")
    return time.perf_counter() - start


async def through_bare(client: Client, table: str, events: EventStream) -> float:
    text = draw_text()
    start = time.perf_counter()
    headers = {"Prefer": "return=representation"}
    answer = await client.rest("POST", f"/{table}", json={"text": text}, headers=headers)
    wanted = answer.json[0]["id"]
    await events.until(lambda event: event.is_about(wanted))
    return time.perf_counter() - start


async def open_floor(
    stack: Stack, client: Client, table: str, channel: str, until_end: AsyncExitStack, model_url: str
) -> Once:
    """The bare parts behind a table, running; how to go through them once."""
    if table == "bare_queue":
        until_end.enter_context(running("work", stack.database.url(), model_url))
    port = str(free_port())
    until_end.enter_context(running("serve", stack.database.url(), stack.url("postgrest"), port, channel))
    bare = Client(client.http, stack.url("postgrest"), "", f"http://127.0.0.1:{port}", client.tokens)
    events = await until_end.enter_async_context(bare.watch())
    return lambda: through_bare(bare, table, events)
