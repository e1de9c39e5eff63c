"""`listener work` as a process: stopped, killed, frozen, cut off from its database."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.fix_postgres import Cluster, Database, free_port
from tests.fix_stack import Stack, running_stack
from tests.fix_work import LOOK_AGAIN_SECONDS, PATIENCE_SECONDS, Desk
from tests.listener.tasks.script import sentences

pytestmark = pytest.mark.services

PARTS = ("engine", "listener work")
SLOWLY = {"fault": "slow_drip", "seconds": 0.4}
QUIET = {"PRECIS_LOG_FORMAT": "json"}
LISTENER = str(Path(sys.executable).parent / "listener")
CUT = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s"
RUNNING = "select from private.partial where request_id = %s"
DONE = "select epoch, attempts from private.job where request_id = %s and state = 'done'"


@contextlib.asynccontextmanager
async def at_desk(database: Database) -> AsyncIterator[Desk]:
    async with contextlib.AsyncExitStack() as stack:
        yield Desk(database, stack)


@contextlib.contextmanager
def workers(database: Database, count: int = 1, **work: Any) -> Iterator[Stack]:
    with running_stack(database, parts=PARTS, work=work) as stack, contextlib.ExitStack() as more:
        for _ in range(count - 1):
            more.enter_context(stack.second_worker())
        yield stack


async def long_job(desk: Desk, stack: Stack, slowly: dict[str, Any] = SLOWLY) -> UUID:
    """A request in the middle of a run of several seconds; the next run of it would be quick."""
    with stack.faults(slowly):
        request = desk.ask(desk.person(), sentences(60), target_words=300)
        await desk.until(RUNNING, request)
    return request


async def test_a_killed_workers_job_is_run_again_by_another_within_seconds(desk: Desk) -> None:
    with workers(desk.database, slots_per_model=1) as stack:
        request = await long_job(desk, stack)
        with stack.second_worker():
            stack.work.kill()
            at = time.monotonic()
            await desk.until("select from private.job where request_id = %s and epoch = 2", request)
            assert time.monotonic() - at < 10
            await desk.until(DONE, request)
            assert desk.query("select epoch from private.result") == [(2,)]
            assert desk.query("select count(*) from private.worker") == [(1,)]


async def test_a_worker_told_to_stop_ends_well_and_leaves_nothing_behind(desk: Desk) -> None:
    with workers(desk.database, drain_seconds=0.2) as stack:
        request = await long_job(desk, stack)
        assert stack.work.stop() == 0
        job = desk.job(request)
        assert (job["state"], job["attempts"]) == ("ready", 0)
        assert desk.query("select from private.worker") == []
        assert desk.query("select from private.slot where worker_id is not null") == []
        assert "Task exception was never retrieved" not in stack.work.tail(200)


async def test_a_frozen_worker_that_wakes_up_finds_its_lease_gone_and_becomes_another(desk: Desk) -> None:
    with workers(desk.database) as stack:
        request = await long_job(desk, stack)
        with stack.work.paused():
            desk.query(CUT, "precis-work-notices")  # what shows its life: else it takes three times as long
            with stack.second_worker():
                await desk.until("select from private.job where request_id = %s and epoch = 2", request)
        await says(stack, "lease.lost")
        await desk.until("select from private.worker where id > 2")
        await desk.until(DONE, request)
    assert desk.query("select count(*) from private.result") == [(1,)]


async def says(stack: Stack, event: str) -> None:
    """Waits for a line in the worker's log."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not any(line.get("event") == event for line in stack.work.lines()):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def restarted(cluster: Cluster, stack: Stack, *, after: str) -> None:
    """Postgres is away until the worker has said this."""
    await asyncio.to_thread(cluster.stop, "immediate")
    await says(stack, after)
    await asyncio.to_thread(cluster.start)


async def test_a_restart_of_postgres_costs_no_attempt_and_no_text(own_cluster: Cluster) -> None:
    database = Database(own_cluster, "precis")
    async with at_desk(database) as desk:
        with workers(database, 2, slots_per_model=1) as stack:
            request = await long_job(desk, stack)
            await restarted(own_cluster, stack, after="lease.not_renewed")
            assert await desk.until(DONE, request) == (1, 1)
            await desk.until(DONE, desk.ask(desk.person(), "Short."))
            assert desk.query("select count(*) from private.worker") == [(2,)]


async def test_a_worker_cut_off_until_its_lease_is_about_to_end_gives_up_its_calls_and_charges_nothing(
    own_cluster: Cluster,
) -> None:
    database = Database(own_cluster, "precis")
    async with at_desk(database) as desk:
        with workers(database) as stack:
            request = await long_job(desk, stack, {**SLOWLY, "seconds": 1.5})
            await restarted(own_cluster, stack, after="lease.fenced")
            await desk.until("select from private.job where request_id = %s and epoch > 1", request)
            assert desk.job(request)["attempts"] == 1


async def at_a_text(desk: Desk, stack: Stack) -> tuple[UUID, UUID, int]:
    """A person, their request, and the process in the middle of work on its text: frozen there, so that it
    takes for ever."""
    person = desk.person()
    request = desk.ask(person, sentences(1_900), target_words=20_000)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (found := text_processes(stack.work.pid)):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
    os.kill(found[0], signal.SIGSTOP)
    return person, request, found[0]


def text_processes(worker: int) -> list[int]:
    """The worker's processes that work on texts."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes().split(b"\0")
            if b"listener.offload.child" in words and str(worker).encode() in words:
                found.append(int(file.parent.name))
    return found


async def ended(stack: Stack, pid: int) -> None:
    """Waits until the process is none of the worker's any more."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while pid in text_processes(stack.work.pid):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def test_a_cancel_ends_work_on_a_text_whatever_that_is_doing(desk: Desk) -> None:
    with workers(desk.database) as stack:
        person, request, pid = await at_a_text(desk, stack)
        desk.call(person, "cancel", request)
        await ended(stack, pid)
        assert desk.job(request)["state"] == "cancelled"
        await desk.until(DONE, desk.ask(person, sentences(300), target_words=20_000))


async def test_a_stop_waits_for_no_text_and_charges_nothing(desk: Desk) -> None:
    with workers(desk.database, drain_seconds=60) as stack:
        _, request, pid = await at_a_text(desk, stack)
        assert stack.work.stop() == 0
        job = desk.job(request)
        assert (job["state"], job["attempts"]) == ("ready", 0)
        assert not Path(f"/proc/{pid}").exists()


async def test_a_killed_text_process_costs_its_own_text_one_attempt(desk: Desk) -> None:
    with workers(desk.database) as stack:
        _, request, pid = await at_a_text(desk, stack)
        os.kill(pid, signal.SIGKILL)
        await desk.until("select from private.job where request_id = %s and attempts = 2", request)
        assert await desk.until(DONE, request) == (2, 2)


async def test_readiness_needs_a_model_server(desk: Desk) -> None:
    with workers(desk.database) as stack:
        assert stack.work.is_ready()
        stack.engine.stop()
        desk.ask(desk.person(), sentences(10), target_words=50)  # its call finds nobody there
        await desk.until("select from public.models where not available")
        assert not stack.work.is_ready()
        stack.engine.start()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LISTENER, *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd="/",
    )


def test_check_prints_the_settings_without_the_secret() -> None:
    done = run("work", "--check", PRECIS_WORK_DATABASE_URL="postgresql://listener:hush@db/precis")
    assert done.returncode == 0
    assert "work.slots_per_model = " in done.stdout
    assert "hush" not in done.stdout


def test_a_missing_setting_is_told_with_its_key() -> None:
    done = run("work")
    assert (done.returncode, "work.database_url" in done.stderr) == (78, True)


@pytest.mark.parametrize(
    ("service", "role", "name", "says"),
    [
        ("work", "listener", "nowhere", "There is no such database"),
        ("work", "nobody_at_all", "template_precis", "does not let this role in"),
        ("events", "listener_events", "postgres", "Run the migrations"),
    ],
)
def test_a_start_ends_with_a_sentence_where_only_a_person_can_mend_it(
    service: str, role: str, name: str, says: str, cluster: Cluster
) -> None:
    done = run(service, **{f"PRECIS_{service.upper()}_DATABASE_URL": cluster.url(role, name)}, **QUIET)
    assert done.returncode == 78
    assert says in done.stdout
    assert "Traceback" not in done.stdout


def test_a_start_that_waits_for_a_database_is_told_to_stop_and_ends_well() -> None:
    url = f"postgresql://listener@127.0.0.1:{free_port()}/precis"
    command = [LISTENER, "work"]
    environment = {"PRECIS_WORK_DATABASE_URL": url, **QUIET}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as waiting:
        assert waiting.stdout is not None
        assert "database.awaited" in waiting.stdout.readline()
        waiting.terminate()
        assert waiting.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("arguments", [(), ("play",)])
def test_a_wrong_command_line_shows_the_right_ones(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "listener work" in done.stderr
