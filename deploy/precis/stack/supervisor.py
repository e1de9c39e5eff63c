"""Keeps parts running: starts each, waits until it is ready, starts it again when it dies or answers no more,
stops all in order. Knows a part only as a command and a question whether it is ready."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from precis.faults import EXIT_CONFIG, PartFailed
from precis.stack.process import Command, birth, ending, last_lines, send, spawn
from precis.stack.state import Record, State

POLL_SECONDS = 0.1
PROBE_SECONDS = 3.0
START_SECONDS = 60.0
GRACE_SECONDS = 15.0  # the worker hands its work back within work.drain_seconds
BACKOFF_FIRST_SECONDS, BACKOFF_CAP_SECONDS = 0.5, 30.0
WATCH_SECONDS = 5.0  # between two questions to a part that is ready
DEAD_PROBES = 4  # so many in a row without any answer, and a part that still runs is started again
STEADY_SECONDS = 60.0  # a part that ran so long starts its backoff anew
TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class Readiness:
    """`answers`: something in it still speaks. That it is not ready, as when the database is away, is no
    reason to start it again."""

    ready: bool
    detail: str
    answers: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    command: Command
    probe: Callable[[], Awaitable[Readiness]]
    outlives: bool = False  # stopped after all others


class Report(Protocol):
    """Where it is said what happens: on the terminal, and in the tests."""

    def ready(self, name: str, detail: str, seconds: float) -> None: ...

    def died(self, name: str, how: str, retry_seconds: float) -> None: ...

    def again(self, name: str) -> None: ...

    def hangs(self, name: str) -> None: ...


class Supervisor:
    """One per running stack. A part that cannot start ends the stack through its task group."""

    def __init__(
        self, group: asyncio.TaskGroup, *, logs: Path, state: State, state_path: Path, report: Report
    ) -> None:
        self._group = group
        self._logs = logs
        self._state = state
        self._state_path = state_path
        self._report = report
        self._keepers: list[_Keeper] = []

    async def start(self, part: Part) -> None:
        """Returns when the part is ready for the first time; ends the group with PartFailed if it does not
        get so."""
        record = Record(part.name)
        log = self._logs / f"{part.name.replace(' ', '-')}.log"
        keeper = _Keeper(part, record, log, self._report, self.publish)
        self._state.parts.append(record)
        self._keepers.append(keeper)
        self._group.create_task(keeper.keep(), name=f"keep {part.name}")
        await keeper.first_ready.wait()

    async def stop(self) -> None:
        """Stops all, those that outlive the others last; kills what does not end within its grace."""
        for outlives in (False, True):
            wave = [keeper for keeper in self._keepers if keeper.part.outlives is outlives]
            await asyncio.gather(*(keeper.stop() for keeper in wave))

    def kill(self) -> None:
        """For who does not want to wait. What outlives the others still gets its orderly end."""
        for keeper in self._keepers:
            if not keeper.part.outlives:
                keeper.kill()

    def publish(self) -> None:
        self._state.write(self._state_path)


class _Keeper:
    """The life of one part, over all its processes."""

    def __init__(
        self, part: Part, record: Record, log: Path, report: Report, publish: Callable[[], None]
    ) -> None:
        self.part = part
        self.first_ready = asyncio.Event()
        self._record = record
        self._log = log
        self._report = report
        self._publish = publish
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def keep(self) -> None:
        delays = backoff()
        while not self._stopping.is_set():
            began = time.monotonic()
            process = await self._spawn()
            if await self._becomes_ready(process, began):
                self._announce(time.monotonic() - began)
                await self._lives(process)
            self._note_end(await process.wait())
            if self._stopping.is_set():
                return
            if not self.first_ready.is_set():
                raise self._failed_start(process.returncode or 0)
            if time.monotonic() - began > STEADY_SECONDS:
                delays = backoff()
            await self._pause(next(delays))

    async def stop(self) -> None:
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            await self._end(self._process)

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._process = process = await spawn(self.part.command, self._log)
        self._record.pid, self._record.born, self._record.detail = process.pid, birth(process.pid), "starting"
        self._publish()
        if self._stopping.is_set():  # it came too late for stop() to see it
            send(process.pid, self.part.command.stop_signal)
        return process

    async def _becomes_ready(self, process: asyncio.subprocess.Process, began: float) -> bool:
        """Asks until it is, or its process has ended. The first start has a deadline; a later one must answer
        something by then."""
        while process.returncode is None:
            readiness = await self._ask()
            self._record.detail = readiness.detail
            if readiness.ready:
                return True
            if time.monotonic() - began > START_SECONDS:
                if not self.first_ready.is_set():
                    raise self._too_slow(readiness.detail)
                if not readiness.answers:
                    await self._give_up(process)
            await _ends(process, within=POLL_SECONDS)
        return False

    async def _lives(self, process: asyncio.subprocess.Process) -> None:
        """Returns when it has ended; ends it if it says nothing for too long."""
        silent = 0
        while not await _ends(process, within=WATCH_SECONDS) and not self._stopping.is_set():
            silent = 0 if (await self._ask()).answers else silent + 1
            if silent >= DEAD_PROBES:
                await self._give_up(process)

    async def _give_up(self, process: asyncio.subprocess.Process) -> None:
        self._report.hangs(self.part.name)
        await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Asks it to, and kills it if it does not within its grace."""
        send(process.pid, self.part.command.stop_signal)
        if not await _ends(process, within=GRACE_SECONDS):
            send(process.pid, signal.SIGKILL)
            await process.wait()

    async def _ask(self) -> Readiness:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await self.part.probe()
        except TimeoutError:
            return Readiness(False, "does not answer", answers=False)

    def _announce(self, seconds: float) -> None:
        self._record.ready = True
        self._publish()
        if self.first_ready.is_set():
            self._report.again(self.part.name)
        else:
            self._report.ready(self.part.name, self._record.detail, seconds)
            self.first_ready.set()

    def _note_end(self, code: int) -> None:
        record = self._record
        record.pid, record.born, record.ready, record.detail = None, None, False, ending(code)
        self._publish()

    async def _pause(self, seconds: float) -> None:
        self._report.died(self.part.name, self._record.detail, seconds)
        self._record.restarts += 1
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _failed_start(self, code: int) -> PartFailed:
        cause = "Its settings are wrong" if code == EXIT_CONFIG else f"It {ending(code)}"
        return PartFailed(
            "part_failed",
            f"{self.part.name} does not start. {cause}; the end of {self._log} says why.",
            lines=last_lines(self._log, TAIL_LINES),
        )

    def _too_slow(self, detail: str) -> PartFailed:
        return PartFailed(
            "part_not_ready",
            f"{self.part.name} is not ready after {START_SECONDS:.0f} s: {detail}. See {self._log}.",
            lines=last_lines(self._log, TAIL_LINES),
        )


async def _ends(process: asyncio.subprocess.Process, *, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await process.wait()
    except TimeoutError:
        return False
    return True


def backoff() -> Iterator[float]:
    delay = BACKOFF_FIRST_SECONDS
    while True:
        yield delay
        delay = min(BACKOFF_CAP_SECONDS, delay * 2)
