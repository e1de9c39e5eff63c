"""Work on long texts in child processes: within a budget, ended with whoever waits for it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from listener.offload.errors import BrokenOffError, OffloadError, RaisedError, TooCostlyError
from listener.offload.pool import SHORT_CHARACTERS, Pool
from listener.offload.process import Budget
from listener.text.language import detect_language
from tests.listener.offload.costly import burn, crash, overflow, spin, stumble, swallow, who
from tests.listener.tasks.script import sentences

LONG = "x" * (SHORT_CHARACTERS + 1)
BRIEF = Budget(cpu_seconds=0.3, memory_mb=300)
AMPLE = Budget(cpu_seconds=60.0, memory_mb=300)
FROZEN = Budget(cpu_seconds=60.0, memory_mb=300, wall_seconds=0.2)


def children() -> set[int]:
    """The processes that this one has started, and that have not ended."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state != "Z":
                found.add(int(status.parent.name))
    return found


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with Pool(AMPLE, processes=1) as opened:
        yield opened


async def gone(pid: int) -> None:
    """Waits until the process has ended."""
    async with asyncio.timeout(10):
        while pid in children():
            await asyncio.sleep(0.005)


async def test_a_short_text_waits_for_no_process(pool: Pool) -> None:
    assert await pool.owner("a")(who, LONG[1:]) == os.getpid()
    assert await pool.owner("a")(who, LONG) != os.getpid()


async def test_no_process_runs_before_there_is_work_and_one_is_asked_again() -> None:
    before = children()
    async with Pool(AMPLE, processes=2) as pool:
        assert children() == before
        first = await pool.run("a", who, LONG)
        assert await pool.run("b", who, LONG) == first
        assert children() - before == {first}
    assert children() == before


async def test_a_process_that_has_nothing_to_do_ends() -> None:
    async with Pool(AMPLE, processes=1, idle_seconds=0.01) as pool:
        await gone(await pool.run("a", who, LONG))
        assert await pool.run("a", who, LONG)


async def test_large_texts_go_both_ways(pool: Pool) -> None:
    assert await pool.run("a", overflow, sentences(1000)) == sentences(1000) * 200


async def test_a_child_tells_languages_apart_by_its_parents_tables(pool: Pool) -> None:
    assert await pool.run("a", detect_language, sentences(100)) == "en"


ENDS: list[tuple[Budget, Callable[..., Any], type[OffloadError], str]] = [
    (BRIEF, spin, TooCostlyError, "cpu"),
    (AMPLE, swallow, TooCostlyError, "memory"),
    (AMPLE, crash, BrokenOffError, "-9"),
    (AMPLE, stumble, RaisedError, "ValueError"),
]


@pytest.mark.parametrize(("budget", "work", "error", "said"), ENDS, ids=["cpu", "memory", "killed", "raised"])
async def test_what_ends_badly_ends_alone(
    budget: Budget, work: Callable[..., Any], error: type[OffloadError], said: str
) -> None:
    async with Pool(budget, processes=1) as pool:
        with pytest.raises(error, match=said):
            await pool.run("a", work, LONG)
        assert await pool.run("a", len, LONG) == len(LONG)


async def test_an_error_does_not_quote_the_text(pool: Pool) -> None:
    with pytest.raises(RaisedError) as raised:
        await pool.run("a", stumble, "very private " * 1000)
    assert "stumble" in str(raised.value)
    assert "very private" not in str(raised.value)


async def test_a_process_that_does_not_even_compute_is_given_up_in_the_end() -> None:
    async with Pool(FROZEN, processes=1) as pool:
        with contextlib.suppress(TooCostlyError):
            await pool.run("a", who, LONG)  # it may take longer than that to start
        with pytest.raises(TooCostlyError, match="time"):
            await pool.run("a", signal.sigwait, {signal.SIGUSR1})


async def test_the_budget_is_that_of_one_piece() -> None:
    async with Pool(Budget(cpu_seconds=0.5, memory_mb=300), processes=1) as pool:
        worked = [await pool.run("a", burn, 0.2) for _ in range(5)]
    assert len(set(worked)) == 1


async def test_who_is_cancelled_takes_the_process_along(pool: Pool) -> None:
    before = children()
    running = asyncio.create_task(pool.run("a", spin, LONG))
    while not (started := children() - before):
        await asyncio.sleep(0.005)
    waiting = asyncio.create_task(pool.run("b", len, LONG))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not started & children()
    assert await waiting == len(LONG)


async def test_a_process_killed_while_it_has_nothing_to_do_is_missed_by_nobody(pool: Pool) -> None:
    pid = await pool.run("a", who, LONG)
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
    assert await pool.run("a", who, LONG) != pid


async def test_the_end_of_a_service_reaches_no_child_before_its_parent(pool: Pool) -> None:
    """A manager sends SIGTERM to the whole group: what runs may end, or is handed back."""
    pid = await pool.run("a", who, LONG)
    os.kill(pid, signal.SIGTERM)
    assert await pool.run("a", who, LONG) == pid


ORPHAN = """
import asyncio, os, signal
from listener.offload.pool import Pool
from listener.offload.process import Budget
from tests.listener.offload.costly import spin, who

async def main():
    async with Pool(Budget(60.0, 300), processes=1) as pool:
        print(await pool.run("a", who, "x"), flush=True)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGKILL)
        await pool.run("a", spin, "x")

asyncio.run(main())
"""


def test_no_child_outlives_a_parent_that_was_killed() -> None:
    parent = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ORPHAN)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    child = Path(f"/proc/{int(parent.stdout)}/stat")
    for _ in range(1000):  # until the kernel has taken it down
        if not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        os.sched_yield()
    raise AssertionError("the child computes on")
