"""How many jobs of others start before a newcomer's single row: behind one user's long queue, and behind many
users' short ones. Counted by the database's clock, from when the newcomer knew that the row is committed."""

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.bare import INSTANT
from tests.bench.figures import Figure, at_most, shown
from tests.bench.people import Sender, sending, sign_up
from tests.bench.processes import PAUSE, RESUME, model_server, new_database, working
from tests.fix_postgres import Cluster
from tests.fix_stack import Stack

SLOTS = 4
CALL_SECONDS = 0.05
HOGS_ROWS = 10_000
CROWD, CROWD_ROWS = 100, 100
NEWCOMERS = 40
BETWEEN_SECONDS = (0.0, 0.3)
PATIENCE_SECONDS = 60.0
BEGUN = "select 1 from private.job where epoch > 0"
STARTED = "select 1 from private.job where request_id = %s and claimed_at is not null"
WAITING = "select count(*) from private.job where state = 'ready'"
# How many of each owner's jobs started after a time and before that row.
AHEAD = """
select count(*)::int from private.job j, private.job mine
 where mine.request_id = %s and j.claimed_at > to_timestamp(%s) and j.claimed_at < mine.claimed_at
 group by j.owner
"""


def measure(cluster: Cluster) -> Iterator[Figure]:
    with busy(cluster, "hog", owners=1, rows=HOGS_ROWS) as (stack, sender):
        ahead = [sum(counts) for counts in newcomers(stack, sender)]
    name = f"jobs started before a newcomer's row, behind one user's {HOGS_ROWS}"
    yield shown(f"{name}, mean", statistics.mean(ahead), "jobs")
    yield at_most(f"{name}, worst of {NEWCOMERS}", max(ahead), "jobs", SLOTS)
    with busy(cluster, "crowd", owners=CROWD, rows=CROWD_ROWS) as (stack, sender):
        ahead = [max(counts, default=0) for counts in newcomers(stack, sender)]
    name = f"rows of any one of {CROWD} users with {CROWD_ROWS} each, started before a newcomer's"
    yield at_most(f"{name}, worst of {NEWCOMERS}", max(ahead), "rows", 1)


@contextmanager
def busy(cluster: Cluster, name: str, *, owners: int, rows: int) -> Iterator[tuple[Stack, Sender]]:
    """A worker that has begun on so many rows of each of so many owners, and who can send more."""
    database = new_database(cluster, name)
    with (
        model_server(seconds=CALL_SECONDS) as url,
        working(database, url, slots=SLOTS) as stack,
        sending(database) as sender,
    ):
        stack.query(PAUSE)
        for owner in sign_up(database, owners):
            sender.send_many(owner, INSTANT, rows)
        stack.query(RESUME)
        stack.until(BEGUN)
        yield stack, sender


def newcomers(stack: Stack, sender: Sender) -> list[list[int]]:
    """For each newcomer, who sends one row, how many jobs of each other owner started before it."""
    sent = []
    for person in sign_up(stack.database, NEWCOMERS):
        time.sleep(random.uniform(*BETWEEN_SECONDS))
        sent.append(sender.send(person, INSTANT))
    for request in sent:
        stack.until(STARTED, request.id, within=PATIENCE_SECONDS)
    ((waiting,),) = stack.query(WAITING)
    assert waiting > SLOTS, "nobody else waited any more"
    return [[row[0] for row in stack.query(AHEAD, each.id, each.committed_at)] for each in sent]
