"""From commit to the start of the handler on an idle machine, against a bare LISTEN connection that then runs
one UPDATE .. SKIP LOCKED. One clock, the machine's; commit is when the inserting client is told of it."""

import json
import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import IO, Any

import psycopg

from tests.bench.figures import Figure, at_most, median, quantile, shown
from tests.bench.processes import running
from tests.fix_stack import Stack

ROUNDS = 5
ROUND_INSERTS = 100
WARM_UP_INSERTS = 10
IDLE_SECONDS = (0.005, 0.04)  # between two inserts: as if people came, not in step with anything
GOAL_P50_MS = 3.0
GOAL_P99_MS = 10.0
AS_CLIENT = "select set_config('role', 'pgrest_auth', true), set_config('request.jwt.claims', %s, true)"
INSERT = "insert into public.requests (task, text) values ('summarize', 'A sentence.') returning id::text"
INSERT_BARE = "insert into private.bare_job (id) values (%s)"

Connection = psycopg.Connection[tuple[Any, ...]]
Once = Callable[[], float]


def measure(stack: Stack, account: str) -> list[Figure]:
    """`account` is the id of somebody; the worker is idle."""
    with (
        psycopg.connect(stack.database.url("authenticator")) as client,
        psycopg.connect(stack.database.url()) as owner,
        stack.work.log.open() as log,
        running("claim", stack.database.url()) as claims,
    ):
        log.seek(0, 2)
        numbers = iter(range(1, 1_000_000))
        ours = lambda: through_precis(client, log, account)  # noqa: E731
        floor = lambda: through_bare(owner, claims, next(numbers))  # noqa: E731
        for once in (ours, floor):
            repeat(once, WARM_UP_INSERTS)
        rounds = [(repeat(ours, ROUND_INSERTS), repeat(floor, ROUND_INSERTS)) for _ in range(ROUNDS)]
    return [
        at_most("pickup, p50", median(median(found) for found, _ in rounds), "ms", GOAL_P50_MS),
        at_most("pickup, p99", median(quantile(found, 0.99) for found, _ in rounds), "ms", GOAL_P99_MS),
        shown("pickup, bare LISTEN and UPDATE, p50", median(median(bare) for _, bare in rounds), "ms"),
        shown(
            "pickup, bare LISTEN and UPDATE, p99", median(quantile(bare, 0.99) for _, bare in rounds), "ms"
        ),
    ]


def repeat(once: Once, times: int) -> list[float]:
    """Milliseconds of each."""
    found = []
    for _ in range(times):
        time.sleep(random.uniform(*IDLE_SECONDS))
        found.append(1000 * once())
    return found


def through_precis(client: Connection, log: IO[str], account: str) -> float:
    """Seconds from commit to the start of the handler; returns when the job has ended: the worker is idle."""
    client.execute(AS_CLIENT, [json.dumps({"sub": account})])
    row = client.execute(INSERT).fetchone()
    client.commit()
    committed = time.time()
    assert row is not None
    while row[0] not in (line := next_line(log)):
        pass
    entry = json.loads(line)
    assert entry["event"] == "request.done", entry
    # The one line about a job is written at its end, and tells how long before that its handler began.
    return float(datetime.fromisoformat(entry["ts"]).timestamp() - entry["seconds"] - committed)


def through_bare(owner: Connection, claims: IO[str], number: int) -> float:
    owner.execute(INSERT_BARE, [number])
    owner.commit()
    committed = time.time()
    taken, at = claims.readline().split()
    assert int(taken) == number
    return float(at) - committed


def next_line(log: IO[str]) -> str:
    """The next whole line of a file that another process writes."""
    text = ""
    while not text.endswith("\n"):
        more = log.readline()
        text += more
        if not more:
            time.sleep(0.002)
    return text
