"""What A does, one function for each scenario, which goes on until it ends or is cancelled."""

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.neighbour.aggressor import Aggressor
from tests.neighbour.model_server import MODEL, TRICKS
from tests.stack.client import story

ENGINE = "extractive:latest"
Deed = Callable[[Aggressor], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """`model` is whose slots A and B share, `backlog` how many rows of A wait already when it begins. If
    `needs_success`, a run where A got no 2xx proves nothing."""

    name: str
    do: Deed
    model: str = MODEL
    backlog: int = 0
    is_short: bool = False
    needs_success: bool = True


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str, *, model: str = MODEL, backlog: int = 0, short: bool = False, needs_success: bool = True
) -> Callable[[Deed], Deed]:
    def add(do: Deed) -> Deed:
        SCENARIOS[name] = Scenario(name, do, model, backlog, short, needs_success)
        return do

    return add


# --- many rows ---


@scenario("arrays-of-500", backlog=500, short=True)
async def arrays_of_500(a: Aggressor) -> None:
    for _ in range(2):
        await a.insert(a.rows(500))


@scenario("arrays-of-100")
async def arrays_of_100(a: Aggressor) -> None:
    await a.together(3, lambda: a.insert(a.rows(100)), times=5)


@scenario("single-rows")
async def single_rows(a: Aggressor) -> None:
    await a.together(8, lambda: a.insert(a.row()))


@scenario("scheduled-for-one-moment")
async def scheduled(a: Aggressor) -> None:
    """They all fall due at once."""
    moment = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
    await a.together(3, lambda: a.insert(a.rows(100, run_at=moment)), times=3)


# --- changes ---


@scenario("patch-priority", backlog=400, short=True)
async def patch_priority(a: Aggressor) -> None:
    while True:
        await a.change("state=eq.queued", {"priority": 1})
        await asyncio.sleep(0.3)


@scenario("patch-run-at", backlog=400)
async def patch_run_at(a: Aggressor) -> None:
    while True:
        await a.change("state=eq.queued", {"run_at": "2020-01-01T00:00:00Z"})
        await asyncio.sleep(0.3)


@scenario("patch-single-rows", backlog=400)
async def patch_single_rows(a: Aggressor) -> None:
    """One by one, as a client that keeps to any limit of rows would."""

    async def once() -> None:
        await a.change(f"id=eq.{random.choice(a.backlog)}", {"priority": random.choice((0, 1))})

    await a.together(4, once)


@scenario("priority-closed-loop", short=True)
async def priority_closed_loop(a: Aggressor) -> None:
    """24 rows at a time of priority 1, the next when one has ended."""

    async def one() -> None:
        for row in await a.insert(a.row(priority=1)):
            while await a.read(f"/requests?id=eq.{row}&state=in.(queued,running)&select=id"):
                await asyncio.sleep(0.2)

    await a.together(24, one)


@scenario("retry-loop", backlog=50)
async def retry_loop(a: Aggressor) -> None:
    async def again() -> None:
        row = random.choice(a.backlog)
        await a.call("cancel", id=row)
        await a.call("retry", id=row)

    await a.together(8, again)


@scenario("insert-cancel-loop")
async def insert_cancel_loop(a: Aggressor) -> None:
    async def once() -> None:
        for row in await a.insert(a.row()):
            await a.call("cancel", id=row)

    await a.together(8, once)


@scenario("clear-10000-rows", backlog=10_000)
async def clear(a: Aggressor) -> None:
    while True:
        if not await a.call("clear", state="queued"):
            await a.delete("state=eq.queued")


@scenario("delete-2000-rows", backlog=2_000, short=True)
async def delete(a: Aggressor) -> None:
    while True:
        await a.delete("state=eq.queued")


# --- texts: each given to a model server that does nothing with it, and to the built-in engine ---

MIB = 2**20


def paragraphs() -> list[str]:
    """Of three sentences each."""
    told = story(30).split(". ")
    return [". ".join(told[n : n + 3]) + "." for n in range(0, 30, 3)]


TEXTS: Mapping[str, Callable[[], str]] = {
    "word-8kB": lambda: "x" * 8_000,
    "word-200kB": lambda: "x" * 200_000,
    "word-1MB": lambda: "x" * (MIB - 100),
    "base64-1MB": lambda: base64.b64encode(random.randbytes(780_000)).decode(),
    "emphasis-48kB": lambda: "*a " * 16_000,
    "brackets-48kB": lambda: "[" * 48_000,
    "ideographic-numbers": lambda: "九" * 400,
    "ideographs-1MB": lambda: "水" * (MIB // 3 - 100),
    "urls-500kB": lambda: "".join(f"https://example.com/{n}/a?b=c&d=e. " for n in range(14_000)),
    "addresses-100kB": lambda: "a@a." * 25_000,
    "combining-marks-100kB": lambda: "e\u0301\u0302\u0303" * 14_000,
    "stops-100kB": lambda: "a?!. " * 20_000,
    "spaces-500kB": lambda: "word" + " " * 500_000 + "word",
    "prose-1MB": lambda: story(10_000),
    "emoji-paragraphs": lambda: "\n\n🙏\n\n".join(paragraphs()),
    "bare-marks": lambda: "\n\n--\n\n• •\n\n…\n\n".join(paragraphs()),
}
SHORT_TEXTS = {("word-200kB", MODEL), ("emoji-paragraphs", ENGINE)}


def text_scenario(kind: str, model: str) -> None:
    """A sends such a text again and again, a dozen at most, for both tasks."""
    where = "engine" if model == ENGINE else "model"

    @scenario(f"{kind}-to-{where}", model=model, short=(kind, model) in SHORT_TEXTS, needs_success=False)
    async def send(a: Aggressor) -> None:
        for _ in range(6):
            mark = f"Row {next(a.numbers)}. "
            await a.insert(a.row(mark + TEXTS[kind]()))
            await a.insert(a.row(mark + TEXTS[kind](), task="shorten", target_ratio=0.5))
            await asyncio.sleep(1)


for _kind in TEXTS:
    for _model in (MODEL, ENGINE):
        text_scenario(_kind, _model)


# --- unusual answers of the model server, for A's texts alone ---


def trick_scenario(trick: str) -> None:
    @scenario(f"answer-{trick}", short=trick in ("separated", "miscounted"))
    async def send(a: Aggressor) -> None:
        for _ in range(10):
            row = a.row()
            await a.insert(row | {"text": f"trick-{trick} {row['text']}"})
            await asyncio.sleep(1)


for _trick in ("broken", *TRICKS):
    trick_scenario(_trick)


# --- requests to the other surfaces ---


@scenario("anonymous-regex", short=True, needs_success=False)
async def anonymous_regex(a: Aggressor) -> None:
    pattern = "%22(((a%7B1,40%7D)%7B1,40%7D)%7B1,30%7D)%22"
    path = f"/models?or=(name.not.match.{pattern},name.not.imatch.{pattern})"
    await a.together(12, lambda: a.read(path, anonymous=True))


@scenario("many-aliases", needs_success=False)
async def many_aliases(a: Aggressor) -> None:
    await a.insert(a.row("In 1712 the mills of Ghent sold 40 sacks. " * 20_000))
    columns = ",".join(f"c{n}:text" for n in range(60))
    await a.together(3, lambda: a.read(f"/requests?select={columns}"))


@scenario("event-streams")
async def event_streams(a: Aggressor) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(a.together(30, a.watch))
        group.create_task(a.together(4, lambda: a.insert(a.row())))


@scenario("log-ins", needs_success=False)
async def log_ins(a: Aggressor) -> None:
    await a.together(16, a.log_in)
