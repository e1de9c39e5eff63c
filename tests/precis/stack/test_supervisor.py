"""precis.stack.supervisor: parts that start, die, come again and stop in order. They are small shell
scripts."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import aiohttp
import pytest
from precis.faults import PartFailed
from precis.stack import supervisor
from precis.stack.parts import http
from precis.stack.process import Command
from precis.stack.state import State
from precis.stack.supervisor import Part, Readiness, Supervisor, backoff

from tests.fix_postgres import free_port

SERVES = 'echo "$$" > "$1.ready"; trap "echo asked to stop; exit 0" TERM; while :; do sleep 0.01; done'
DEAF = 'trap "" TERM; echo "$$" > "$1.ready"; while :; do sleep 0.01; done'


@dataclass
class Heard:
    """What the supervisor reported, in order."""

    lines: list[str] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def ready(self, name: str, detail: str, seconds: float) -> None:
        self._add(f"{name} ready: {detail}")

    def died(self, name: str, how: str, retry_seconds: float) -> None:
        self._add(f"{name} {how}")

    def again(self, name: str) -> None:
        self._add(f"{name} again")

    def hangs(self, name: str) -> None:
        self._add(f"{name} hangs")

    async def until(self, line: str) -> None:
        async with asyncio.timeout(10):
            while line not in self.lines:
                self.more.clear()
                await self.more.wait()

    def _add(self, line: str) -> None:
        self.lines.append(line)
        self.more.set()


@dataclass
class Run:
    supervisor: Supervisor
    state: State
    heard: Heard
    folder: Path

    def part(self, name: str, script: str, *, outlives: bool = False) -> Part:
        """Ready while the file that it makes names its process."""
        file = self.folder / f"{name}.ready"

        async def probe() -> Readiness:
            record = next(record for record in self.state.parts if record.name == name)
            return Readiness(file.exists() and file.read_text() == f"{record.pid}\n", "here")

        argv = ("/bin/sh", "-c", script, "sh", str(self.folder / name))
        return Part(name, Command(argv, self.folder, dict(os.environ)), probe, outlives)

    def pid(self, name: str) -> int:
        return int((self.folder / f"{name}.ready").read_text())


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Run]:
    state, heard = State(), Heard()
    async with asyncio.TaskGroup() as group:
        watched = Supervisor(group, logs=folder, state=state, state_path=folder / "state.json", report=heard)
        try:
            yield Run(watched, state, heard, folder)
        finally:
            await watched.stop()


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_FIRST_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.01)


async def test_a_start_returns_when_the_part_is_ready(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await run.supervisor.start(run.part("a", SERVES))
        assert run.heard.lines == ["a ready: here"]
        assert State.read(tmp_path / "state.json").parts[0].pid == run.pid("a")


async def test_a_part_that_died_is_started_again_and_it_is_said(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await run.supervisor.start(run.part("a", SERVES))
        first = run.pid("a")
        os.kill(first, signal.SIGKILL)
        await run.heard.until("a again")
        assert run.heard.lines[1:] == ["a was killed by SIGKILL", "a again"]
        assert run.pid("a") != first
        assert run.state.parts[0].restarts == 1


async def test_a_part_that_ends_without_an_error_is_started_again_too(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await run.supervisor.start(run.part("a", SERVES))
        os.kill(run.pid("a"), signal.SIGTERM)
        await run.heard.until("a again")
        assert "a ended with code 0" in run.heard.lines


def engine(port: int, admin: int) -> Command:
    """A real part, small."""
    environ = dict(os.environ) | {
        "PRECIS_ENGINE_LISTEN": f"127.0.0.1:{port}",
        "PRECIS_ENGINE_ADMIN_LISTEN": f"127.0.0.1:{admin}",
    }
    return Command((str(Path(sys.executable).with_name("listener")), "engine"), Path("/tmp"), environ)


async def test_a_real_part_that_stands_still_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "PROBE_SECONDS", 1.0)  # of a busy machine, four times over
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.2)  # it cannot even hear that it is to end
    port, admin = free_port(), free_port()
    async with aiohttp.ClientSession() as session, running(tmp_path) as run:
        probe = http(session, f"127.0.0.1:{admin}", "readyz", "")
        await run.supervisor.start(Part("engine", engine(port, admin), probe))
        first = run.state.parts[0].pid
        assert first
        os.kill(first, signal.SIGSTOP)
        await run.heard.until("engine again")
        assert run.heard.lines[1:] == ["engine hangs", "engine was killed by SIGKILL", "engine again"]
        assert run.state.parts[0].pid != first


async def test_a_part_that_answers_that_it_is_not_ready_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.001)
    asked, answers = asyncio.Queue[None](), iter([Readiness(True, "here")])

    async def probe() -> Readiness:
        asked.put_nowait(None)
        return next(answers, Readiness(False, "not ready: database"))

    async with running(tmp_path) as run:
        await run.supervisor.start(replace(run.part("a", SERVES), probe=probe))
        for _ in range(5 * supervisor.DEAD_PROBES):
            await asyncio.wait_for(asked.get(), 10)
        assert run.heard.lines == ["a ready: here"]


async def test_a_part_that_comes_back_mute_is_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.0)
    mute = Readiness(False, "does not answer", answers=False)
    answers = iter([Readiness(True, "here"), mute, Readiness(True, "here")])

    async def probe() -> Readiness:
        return next(answers)

    async with running(tmp_path) as run:
        await run.supervisor.start(replace(run.part("a", "exec sleep 600"), probe=probe))
        assert run.state.parts[0].pid
        os.kill(run.state.parts[0].pid, signal.SIGKILL)
        await run.heard.until("a again")
        assert run.heard.lines == [
            "a ready: here",
            "a was killed by SIGKILL",
            "a hangs",
            "a was killed by SIGTERM",
            "a again",
        ]


async def test_a_part_that_does_not_start_ends_the_stack_with_the_end_of_its_log(tmp_path: Path) -> None:
    async def start() -> None:
        async with running(tmp_path) as run:
            await run.supervisor.start(run.part("good", SERVES))
            await run.supervisor.start(run.part("bad", "echo no such table; exit 3"))

    with pytest.raises(ExceptionGroup) as raised:
        await start()
    [fault] = raised.value.exceptions
    assert isinstance(fault, PartFailed)
    assert "bad does not start. It ended with code 3" in fault.message
    assert fault.lines == ("no such table",)
    assert "asked to stop" in (tmp_path / "good.log").read_text()


async def test_a_part_that_never_gets_ready_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.1)
    with pytest.raises(ExceptionGroup) as raised:
        async with running(tmp_path) as run:
            await run.supervisor.start(run.part("slow", "exec sleep 600"))
    assert "not ready after" in str(raised.value.exceptions[0])


async def test_what_others_need_is_stopped_after_them(tmp_path: Path) -> None:
    order = f"echo $1 >> {tmp_path}/order"
    script = SERVES.replace("echo asked to stop", order)
    async with running(tmp_path) as run:
        await run.supervisor.start(run.part("database", script, outlives=True))
        await run.supervisor.start(run.part("b", script.replace("exit 0", "sleep 0.2; exit 0")))
        await run.supervisor.start(run.part("c", script))
    names = [Path(line).name for line in (tmp_path / "order").read_text().split()]
    assert names[-1] == "database"
    assert sorted(names) == ["b", "c", "database"]


async def test_a_part_that_will_not_stop_is_killed_after_its_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.1)
    async with running(tmp_path) as run:
        await run.supervisor.start(run.part("deaf", DEAF))
        pid = run.pid("deaf")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_stop_does_not_wait_for_the_backoff_of_a_dead_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_FIRST_SECONDS", 600.0)
    async with asyncio.timeout(10), running(tmp_path) as run:
        await run.supervisor.start(run.part("a", SERVES))
        os.kill(run.pid("a"), signal.SIGKILL)
        await run.heard.until("a was killed by SIGKILL")


def test_the_backoff_doubles_up_to_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_FIRST_SECONDS", 0.5)
    assert list(islice(backoff(), 9)) == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
