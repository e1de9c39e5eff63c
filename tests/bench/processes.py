"""Starts what a measurement needs in processes of their own: parts of the floor, model servers, workers."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.bench.bare import INSTANT
from tests.fix_postgres import Cluster, Database, free_port
from tests.fix_stack import Stack, running_stack

# So many workers ask to be rung: locks of other databases stand in the same view.
HUNGRY = """
select 1 from pg_locks l join pg_database d on d.oid = l.database and d.datname = current_database()
 where l.relation = 'private.bell'::regclass and l.mode = 'ShareLock' and l.granted having count(*) >= %s
"""
PAUSE, RESUME = "select from private.pause()", "select from private.resume()"
NO_QUOTAS = (
    "update private.allowance set requests_per_day = null, bytes_per_day = null, requests_waiting = null"
)
# Production's patience: a stack of the tests would give up a model call that is silent for two seconds.
PATIENCE = {"first_token_seconds": 300, "idle_seconds": 60}


@contextmanager
def running(*arguments: str, module: str = "tests.bench.bare") -> Iterator[IO[str]]:
    """`python -m MODULE ARGUMENTS`, ready; yields what it prints from then on."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.stdout
    finally:
        process.terminate()
        process.wait()


@contextmanager
def model_server(*names: str, seconds: float = 0.0, spread: float = 0.0, places: int = 0) -> Iterator[str]:
    """The address of one that serves these models and takes so long for each call, up to such a share more or
    less; for so many at once, if `places`."""
    port = str(free_port())
    with running("model", port, str(seconds), str(spread), str(places), *(names or (INSTANT,))):
        yield f"http://127.0.0.1:{port}"


def new_database(cluster: Cluster, name: str) -> Database:
    """With our schema, and no quota for anybody."""
    database = cluster.create_database(name)
    cluster.dbmate(name, "up")
    with database.connect() as connection:
        connection.execute(NO_QUOTAS)
    return database


@contextmanager
def working(database: Database, url: str, *, slots: int, sleepers: int = 1) -> Iterator[Stack]:
    """`listener work` alone, with so many slots of each model that is served there; asleep, and with it so
    many workers of this database."""
    work = {**PATIENCE, "hosts": [url], "slots_per_model": slots}
    with running_stack(database, parts=("listener work",), log={"level": "info"}, work=work) as stack:
        stack.until(HUNGRY, sleepers)
        yield stack
