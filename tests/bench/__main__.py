"""Runs every measurement on one durable PostgreSQL, prints the table; if all of them ran, writes
results.json.

python -m tests.bench [drain|claims|pickup|...] [--minutes 5]      all of them by default
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from tests.bench import (
    bare,
    busy,
    claims,
    drain,
    fair_inserts,
    fairness,
    figures,
    inserts,
    memory,
    pickup,
    reruns,
    rival_pickup,
    roundtrip,
    wakeups,
)
from tests.bench.figures import Figure
from tests.bench.processes import running
from tests.fix_postgres import Cluster, Database, free_port, running_cluster
from tests.fix_stack import PARTS, Stack, running_stack
from tests.stack.client import story

# Durable, unlike in tests: what a commit costs is what is measured. No checkpoint falls into one round only.
SERVER_OPTIONS = (
    "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200",
    "-c", "max_wal_size=8GB", "-c", "checkpoint_timeout=1h",
)  # fmt: skip
# Holds a slot for as long as the inserts are measured: a sentence of the engine's answer every so often.
BUSY = {"fault": "slow_drip", "seconds": 20}
# Every slot busy: something runs, and no worker asks to be rung.
FULL = """
select 1 from private.job where state = 'running' and not exists (
  select from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
   where l.relation = 'private.bell'::regclass and l.mode = 'ShareLock')
"""
LOG = {"level": "info"}
# Production's patience: the stack of the tests would give up a model call that is silent for two seconds.
WORK = {"slots_per_model": 1, "first_token_seconds": 300, "idle_seconds": 60}
ON_A_STACK = ("memory", "pickup", "roundtrip", "inserts")
# What makes its own databases and starts its own parts, in this order.
BY_ITSELF: dict[str, Callable[[Cluster], Iterator[Figure]]] = {
    "drain": drain.measure,
    "fair_inserts": fair_inserts.measure,
    "rival_pickup": rival_pickup.measure,
    "wakeups": wakeups.measure,
    "fairness": fairness.measure,
    "busy": busy.measure,
    "reruns": reruns.measure,
    "claims": claims.measure,
}
ALL = (*ON_A_STACK, *BY_ITSELF)


def main(chosen: Sequence[str], *, minutes: float) -> int:
    """`minutes` is how long claims holds a snapshot."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of everything that has to be stopped
    measures = BY_ITSELF | {"claims": partial(claims.measure, minutes=minutes)}
    found: list[Figure] = []
    with running_cluster(options=SERVER_OPTIONS) as cluster:
        version = cluster.psql("postgres", "-Atc", "show server_version").split()[0]
        for parts in (with_engine(cluster, chosen), with_instant_model(cluster, chosen)):
            found.extend(tell(parts))
        for name in measures:
            if name in chosen:
                found.extend(tell(measures[name](cluster)))
    print(figures.table(found))
    if set(chosen) == set(ALL):
        figures.write(found, version)
    return 0 if all(figure.holds is not False for figure in found) else 1


def tell(measured: Iterator[Figure]) -> Iterator[Figure]:
    """Each figure as soon as it is there: the whole takes a quarter of an hour."""
    for figure in measured:
        print(figures.line(figure), file=sys.stderr, flush=True)
        yield figure


def with_engine(cluster: Cluster, chosen: Sequence[str]) -> Iterator[Figure]:
    """What is measured on the stack as it comes."""
    if not {"memory", "pickup", "inserts"}.intersection(chosen):
        return
    with running_stack(migrated(cluster, "engine"), log=LOG, work=WORK) as stack:
        if "memory" in chosen:
            yield from memory.measure(stack)
        if "pickup" in chosen:
            yield from pickup.measure(stack, account(stack.database))
        if "inserts" in chosen:
            with every_slot_busy(stack):
                yield from inserts.measure(stack.database, stack.folder)


def with_instant_model(cluster: Cluster, chosen: Sequence[str]) -> Iterator[Figure]:
    """What is measured with a model that takes no time: what is left is ours."""
    if "roundtrip" not in chosen:
        return
    database, port = migrated(cluster, "instant"), str(free_port())
    url = f"http://127.0.0.1:{port}"
    parts = tuple(name for name in PARTS if name != "engine")
    with (
        running("model", port),
        running_stack(database, parts=parts, log=LOG, work=WORK | {"hosts": [url]}) as stack,
    ):
        yield from asyncio.run(roundtrip.measure(stack, f"{url}/"))
        yield from memory.measure_used(stack)


def migrated(cluster: Cluster, name: str) -> Database:
    """A new database with our schema, and the floor's beside it."""
    database = cluster.create_database(name)
    cluster.dbmate(name, "up")
    with database.connect() as connection:
        connection.execute(bare.SCHEMA)
    return database


def account(database: Database) -> str:
    """The id of a new account."""
    with database.connect() as connection:
        row = connection.execute(
            "insert into private.account (email, email_key) values ('p@bench.example', 'p@bench.example')"
            " returning id::text"
        ).fetchone()
    assert row is not None
    return str(row[0])


@contextmanager
def every_slot_busy(stack: Stack) -> Iterator[None]:
    """The worker's one slot is taken by a request whose answer comes slowly."""
    with stack.faults(BUSY):
        asyncio.run(insert_long(stack))
        stack.until(FULL)
        yield
        stack.until(FULL, within=0)


async def insert_long(stack: Stack) -> None:
    async with stack.sign_up() as client:
        await client.insert(story(60), target_words=300)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(ALL))
    parser.add_argument(
        "--minutes", type=float, default=1.0, help="how long a snapshot is held for the claims"
    )
    given = parser.parse_args()
    if unknown := set(given.parts).difference(ALL):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return given


if __name__ == "__main__":
    given = arguments()
    sys.exit(main(given.parts or ALL, minutes=given.minutes))
