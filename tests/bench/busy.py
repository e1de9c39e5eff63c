"""How much of their time slots are used while jobs wait, as the model server sees it; and what a worker asks
of the database, idle and busy.

Calls that all take the same time end all at once, again and again. So the slots are also measured with calls
that do not; and each time against as many loops that do nothing but call through the same library. And as an
operator would have it who wants all of a model server: with one slot more than it works on at once, so that a
call waits there for the next place. How often a slot has no call, on its way or at work, the worker's own
metric tells: then it is the queue that keeps it waiting, and not the way to the server.
"""

import asyncio
import json
import random
import time
import urllib.request
from collections.abc import Iterator, Sequence

import uvloop

from listener.model.chat import LEAST_ANSWER_BYTES
from listener.model.server import Server
from tests.bench.bare import INSTANT
from tests.bench.figures import Figure, at_least, at_most, shown
from tests.bench.people import sending, sign_up
from tests.bench.processes import PAUSE, RESUME, model_server, new_database, working
from tests.bench.roundtrip import draw_text
from tests.fix_postgres import Cluster, Database
from tests.fix_stack import Stack

SLOTS = 8
CALL_SECONDS = 0.2
SPREADS = {"of 200 ms": 0.0, "of 150 to 250 ms": 0.25}
PEOPLE = 20
STRETCH_JOBS = 800  # 20 s of them
COUNTED_JOBS = 400
IDLE_SECONDS = 25.0
GOAL_BUSY = 99.0
GOAL_STATEMENTS = 1.0
CALM = "select 1 where not exists (select from private.job where state in ('ready', 'running'))"
BEGUN = "select 1 from private.job where state = 'running' limit 1"
WAITING = "select count(*) from private.job where state = 'ready'"
RINGS = "select coalesce(pg_sequence_last_value('private.rings'), 0)"
# Every transaction that writes takes the next one.
LAST_TRANSACTION = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
COUNT_STATEMENTS = "alter role listener in database {} set log_statement = 'all'"
LOGGED = (b"LOG:  statement: ", b"LOG:  execute ")

Call = tuple[float, float]


def measure(cluster: Cluster) -> Iterator[Figure]:
    database = new_database(cluster, "busy")
    people = sign_up(database, PEOPLE)
    for length, spread in SPREADS.items():
        with (
            model_server(seconds=CALL_SECONDS, spread=spread) as url,
            working(database, url, slots=SLOTS) as stack,
        ):
            work_off(stack, people, STRETCH_JOBS)
            share = 100 * share_busy(calls_of(url))
        yield at_least(f"time that {SLOTS} slots spend in calls {length}", share, "%", GOAL_BUSY)
        with model_server(seconds=CALL_SECONDS, spread=spread) as url:
            uvloop.run(only_call(url, STRETCH_JOBS))
            floor = 100 * share_busy(calls_of(url))
        yield shown(f"the same of {SLOTS} loops that only call", floor, "%")
        with (
            model_server(seconds=CALL_SECONDS, spread=spread) as url,
            working(database, url, slots=SLOTS) as stack,
        ):
            share = 100 * share_taken(stack, people, STRETCH_JOBS)
        name = f"time that {SLOTS} slots have a call {length}, on its way or at work, as the worker counts"
        yield at_least(name, share, "%", GOAL_BUSY)
        with (
            model_server(seconds=CALL_SECONDS, spread=spread, places=SLOTS) as url,
            working(database, url, slots=SLOTS + 1) as stack,
        ):
            work_off(stack, people, STRETCH_JOBS)
            share = 100 * share_busy(calls_of(url))
        name = (
            f"time that the {SLOTS} places of a model server spend in calls {length}, with {SLOTS + 1} slots"
        )
        yield at_least(name, share, "%", GOAL_BUSY)
    with model_server(seconds=CALL_SECONDS) as url:
        cluster.psql(database.name, "-c", COUNT_STATEMENTS.format(database.name))
        with working(database, url, slots=SLOTS) as stack:
            yield from of_an_idle_worker(stack)
            yield from of_a_busy_worker(stack, people)


def work_off(stack: Stack, people: Sequence[str], count: int) -> None:
    """So many jobs, all of them waiting before the first is claimed."""
    pile_up(stack, people, count)
    stack.query(RESUME)
    stack.until(CALM, within=patience(count))


def share_taken(stack: Stack, people: Sequence[str], count: int) -> float:
    """Of the slots, those that have a call: the worker is asked again and again while enough jobs wait."""
    pile_up(stack, people, count)
    stack.query(RESUME)
    stack.until(BEGUN, within=patience(count))
    taken: list[float] = []
    while number(stack, WAITING) > SLOTS:
        taken.append(stack.metric("listener work", "precis_slots", state="busy"))
        time.sleep(random.uniform(0.0, CALL_SECONDS))
    stack.until(CALM, within=patience(count))
    return sum(taken) / (len(taken) * SLOTS)


def pile_up(stack: Stack, people: Sequence[str], count: int) -> None:
    """So many jobs that wait, of everybody the same, in a queue that is paused."""
    stack.query(PAUSE)
    with sending(stack.database) as sender:
        for person in people:
            sender.send_many(person, INSTANT, count // len(people))


def patience(count: int) -> float:
    """Seconds after which so many jobs should long be done."""
    return 10 + 2 * count * CALL_SECONDS / SLOTS


async def only_call(url: str, count: int) -> None:
    """So many calls, each slot's one after the other."""
    body = {"model": INSTANT, "messages": [{"role": "user", "content": draw_text()}], "stream": True}

    async def slot(server: Server) -> None:
        for _ in range(count // SLOTS):
            async for _ in server.stream_chat(body, most_bytes=LEAST_ANSWER_BYTES):
                pass

    async with Server(url) as server:
        await asyncio.gather(*(slot(server) for _ in range(SLOTS)))


def share_busy(calls: Sequence[Call]) -> float:
    """Of the slots' time between the first calls' end and the last calls' begin, while all could be busy."""
    begins = sorted(begun_at for begun_at, _ in calls)
    start, end = begins[2 * SLOTS], begins[-SLOTS]
    spent = sum(max(0.0, min(ended_at, end) - max(begun_at, start)) for begun_at, ended_at in calls)
    return spent / (SLOTS * (end - start))


def calls_of(url: str) -> list[Call]:
    with urllib.request.urlopen(f"{url}/calls", timeout=10) as answer:
        return [(begun_at, ended_at) for begun_at, ended_at in json.load(answer)]


def of_an_idle_worker(stack: Stack) -> Iterator[Figure]:
    with_rings, logged = number(stack, RINGS), statements(stack.database)
    time.sleep(IDLE_SECONDS)
    rate = (statements(stack.database) - logged) / IDLE_SECONDS
    yield at_most("statements of an idle worker", rate, "per s", GOAL_STATEMENTS)
    yield at_most(f"rings in {IDLE_SECONDS:g} idle seconds", number(stack, RINGS) - with_rings, "rings", 0)


def of_a_busy_worker(stack: Stack, people: Sequence[str]) -> Iterator[Figure]:
    """From the first claim on: what the senders did has been done before."""
    pile_up(stack, people, COUNTED_JOBS)
    logged, transactions = statements(stack.database), number(stack, LAST_TRANSACTION)
    stack.query(RESUME)
    stack.until(CALM, within=patience(COUNTED_JOBS))
    counted = {
        "statements": statements(stack.database) - logged,
        "commits that wrote": number(stack, LAST_TRANSACTION) - transactions,
    }
    for name, count in counted.items():
        yield shown(f"{name} per job of a busy worker", count / COUNTED_JOBS, "")


def number(stack: Stack, query: str) -> int:
    return int(stack.query(query)[0][0])


def statements(database: Database) -> int:
    """How many the server has logged so far: those of the workers of one database."""
    log = (database.cluster.folder / "log").read_bytes()
    return sum(log.count(line) for line in LOGGED)
