"""Lost wake-ups: pairs of inserts a few milliseconds apart, at random, with workers that sleep between the
pairs. One clock, the machine's; commit is when the inserting client is told of it."""

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from tests.bench.figures import Figure, at_most, quantile, shown
from tests.bench.logs import Logs, following
from tests.bench.people import SHORT_TEXT, Sender, Sent, sending, sign_up
from tests.bench.processes import model_server, new_database, working
from tests.fix_postgres import Cluster, Database

PAIRS = 10_000
GAP_SECONDS = 0.006  # at most
PAUSE_SECONDS = 0.003  # at most, between two pairs: asleep or about to be
SLOTS = 4
LATE_MS = 100.0
CLAIMED = "select request_id::text, extract(epoch from claimed_at)::float8 from private.job"
MODELS = ("first", "second")


def measure(cluster: Cluster, pairs: int = PAIRS) -> Iterator[Figure]:
    """Both at once: either waits most of the time, and a machine that has more to do loses more."""
    with (
        one_worker(cluster) as (database_one, logs_one),
        two_workers(cluster) as (database_two, logs_two),
        ThreadPoolExecutor() as threads,
    ):
        one = threads.submit(hunt, database_one, logs_one, MODELS[:1], pairs)
        two = threads.submit(hunt, database_two, logs_two, MODELS, pairs)
        yield from figures("one worker", one.result())
        yield from figures("two workers of different models", two.result())


def figures(who: str, waits: Sequence[float]) -> list[Figure]:
    late = sum(wait > LATE_MS for wait in waits)
    return [
        shown(f"pairs of inserts, {who}", len(waits) / 2, "pairs"),
        shown(f"wait of a pair's rows, {who}, p50", quantile(waits, 0.5), "ms"),
        shown(f"wait of a pair's rows, {who}, worst", max(waits), "ms"),
        at_most(f"rows of pairs that waited over {LATE_MS:g} ms, {who}", late, "rows", 0),
    ]


@contextmanager
def one_worker(cluster: Cluster) -> Iterator[tuple[Database, Logs]]:
    database = new_database(cluster, "wakeups_one")
    with ExitStack() as until_end:
        url = until_end.enter_context(model_server(MODELS[0]))
        stack = until_end.enter_context(working(database, url, slots=SLOTS))
        yield database, until_end.enter_context(following(stack.work))


@contextmanager
def two_workers(cluster: Cluster) -> Iterator[tuple[Database, Logs]]:
    """Each has a model server of its own: neither can do what the other leaves."""
    database = new_database(cluster, "wakeups_two")
    with ExitStack() as until_end:
        workers = []
        for sleepers, name in enumerate(MODELS, 1):
            url = until_end.enter_context(model_server(name))
            stack = until_end.enter_context(working(database, url, slots=SLOTS, sleepers=sleepers))
            workers.append(stack.work)
        yield database, until_end.enter_context(following(*workers))


def hunt(database: Database, logs: Logs, models: Sequence[str], pairs: int) -> list[float]:
    """Milliseconds from commit to claim of each row."""
    people = sign_up(database, 2)
    sent: list[Sent] = []
    with sending(database) as sender:
        for _ in range(pairs):
            pair = send_pair(sender, people, models)
            logs.await_done({request.id for request in pair})
            sent += pair
            time.sleep(random.uniform(0, PAUSE_SECONDS))
    with database.connect() as connection:
        claimed_at = {row[0]: float(str(row[1])) for row in connection.execute(CLAIMED)}
    return [1000 * (claimed_at[request.id] - request.committed_at) for request in sent]


def send_pair(sender: Sender, people: Sequence[str], models: Sequence[str]) -> list[Sent]:
    """Of two people, so that neither row waits for its own owner's lock; of models drawn at random."""
    first = sender.send(people[0], random.choice(models), SHORT_TEXT)
    time.sleep(random.uniform(0, GAP_SECONDS))
    return [first, sender.send(people[1], random.choice(models), SHORT_TEXT)]
