"""The previous release's worker beside the new one on one database that has been migrated already: expand,
deploy, contract."""

import contextlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fix_postgres import ROOT, Cluster
from tests.fix_stack import Stack, local, part, running_stack
from tests.part import Part, run
from tests.stack.client import Client, story

pytestmark = pytest.mark.stack

PREVIOUS = "0de2623"  # the last commit before the queue could be paused and its attempts were logged
NEEDED = ("listener", "chassis", "config.default.toml", "pyproject.toml")
MISSING = (
    f"no old worker can run beside the new one: commit {PREVIOUS}, the previous release, is not in this"
    " repository's history; fetch it with git fetch --unshallow"
)
SLOWLY = {"match": {}, "fault": "slow_drip", "seconds": 0.1}
NAMES_OF_SLOTS = "select w.name from private.slot s join private.worker w on w.id = s.worker_id"
HOLDS_ONE = f"{NAMES_OF_SLOTS} where w.name like %s"
HOLDS_NONE = f"select 1 where not exists ({NAMES_OF_SLOTS} where w.name like %s)"
DONE_BY = """
select a.worker from private.attempt a where a.request_id = any (%s::uuid[]) and a.outcome = 'done'
"""
UNFINISHED = "select count(*) from private.job where request_id = any (%s::uuid[]) and state <> 'done'"


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the previous release's packages. A test that cannot have it fails if everything is
    required, else it is left out."""
    archive = archived()
    if archive is None:
        if os.environ.get("PRECIS_REQUIRE_ALL"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(folder, filter="data")
    return folder


def archived() -> bytes | None:
    """None without git, or where the history is not here."""
    try:
        command = ["git", "archive", PREVIOUS, *NEEDED]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


@pytest.fixture(scope="module")
def upgraded(cluster: Cluster) -> Iterator[Stack]:
    """A stack without a worker, migrated."""
    database = cluster.create_database("upgraded", template="template_precis")
    others = ("engine", "authsvc", "postgrest", "listener events")
    with running_stack(database, parts=others) as running:
        yield running


@contextlib.asynccontextmanager
async def both(stack: Stack, previous: Path) -> AsyncIterator[tuple[Part, Part, Client]]:
    """The old worker and the new one, each with a slot, and somebody who asks."""
    old, new = worker(stack, "old", previous), worker(stack, "new")
    old.start()
    new.start()
    try:
        for each in (old, new):
            each.wait_ready()
            stack.until(HOLDS_ONE, name(each))
        async with stack.sign_up() as ada:
            yield old, new, ada
    finally:
        old.stop()
        new.stop()


def worker(stack: Stack, called: str, folder: Path | None = None) -> Part:
    """A worker of the release in that folder, or of this tree."""
    made = part(stack, "listener work")
    address = local()
    made.name, made.log = f"{called} listener work", stack.folder / f"{called}-work.log"
    made.health = f"http://{address}/readyz"
    environ = {**made.environ, "PRECIS_WORK_ADMIN_LISTEN": address}
    if folder is not None:
        made.argv = (sys.executable, "-m", "listener", "work")
        environ["PYTHONPATH"] = str(folder)
    made.environ = environ
    return made


def name(process: Part) -> str:
    """What it is called in the database, as a pattern."""
    return f"%:{process.pid}"


def pid(name_of_worker: str) -> int:
    return int(name_of_worker.rpartition(":")[2])


async def ask(client: Client, count: int) -> list[str]:
    return [(await client.insert(story(12, f"of {n}"), target_words=60))["id"] for n in range(count)]


async def until_done(stack: Stack, requests: list[str]) -> set[int]:
    """The processes that have done them."""
    stack.until(f"select 1 where ({UNFINISHED}) = 0", requests, within=60)
    done = [pid(row[0]) for row in stack.query(DONE_BY, requests)]
    assert len(done) == len(requests)
    return set(done)


async def test_old_and_new_workers_share_the_slots_and_both_take_requests(
    upgraded: Stack, previous: Path
) -> None:
    async with both(upgraded, previous) as (old, new, ada):
        with upgraded.faults(SLOWLY):
            done_by = await until_done(upgraded, await ask(ada, 12))
    assert done_by == {old.pid, new.pid}
    assert (old.code, new.code) == (0, 0)


async def test_a_worker_that_leaves_in_an_upgrade_loses_nothing_whichever_release_it_is_of(
    upgraded: Stack, previous: Path
) -> None:
    async with both(upgraded, previous) as (old, new, ada):
        with upgraded.faults(SLOWLY):
            requests = await ask(ada, 8)
            assert old.stop() == 0
            assert await until_done(upgraded, requests) <= {old.pid, new.pid}
            with run(worker(upgraded, "rolled back", previous)) as rolled_back:
                upgraded.until(HOLDS_ONE, name(rolled_back))
                requests = await ask(ada, 8)
                assert new.stop() == 0
                assert await until_done(upgraded, requests) <= {rolled_back.pid, new.pid}


async def test_a_pause_keeps_the_new_worker_from_claiming_beside_an_old_one_that_knows_no_pause(
    upgraded: Stack, previous: Path
) -> None:
    async with both(upgraded, previous) as (old, new, ada):
        upgraded.query("select private.pause()")
        upgraded.until(HOLDS_NONE, name(new))
        assert await until_done(upgraded, await ask(ada, 6)) == {old.pid}
        assert old.stop() == 0
        waiting = await ask(ada, 3)
        upgraded.query("select private.resume()")
        assert await until_done(upgraded, waiting) == {new.pid}
