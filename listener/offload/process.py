"""One child process as its parent sees it: started, asked, ended. Knows nothing of turns."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from listener.offload import frames
from listener.offload.errors import BrokenOffError, OffloadError, RaisedError, TooCostlyError
from listener.text import classifier

READ_BYTES = 1 << 20
KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")  # and none of our secrets


@dataclass(frozen=True, slots=True)
class Budget:
    """What one piece of work may take: processor time, and memory beside what the process starts with. The
    time by the clock is a net only, for a process that was stopped or waits for a disk: a busy machine must
    not fail a text."""

    cpu_seconds: float
    memory_mb: int
    wall_seconds: float = 600.0


class Child:
    """`start` it, `ask` one thing at a time, `end` it. One that an error came out of is to be ended."""

    def __init__(self, process: asyncio.subprocess.Process, budget: Budget) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._budget = budget
        self._to, self._from = process.stdin, process.stdout

    @classmethod
    async def start(cls, budget: Budget) -> Self:
        """Its first piece of work waits in the pipe while it gets ready."""
        tables = classifier.tables_descriptor()
        arguments = [os.getpid(), tables, budget.cpu_seconds, budget.memory_mb]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "listener.offload.child", *map(str, arguments)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=READ_BYTES,
            pass_fds=(tables,),
            # One thread: its own are memory, and their time is counted all the same.
            env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
            | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        return cls(process, budget)

    @property
    def alive(self) -> bool:
        """By the kernel's word: that it was killed just now has reached nobody else yet."""
        if self._process.returncode is not None:
            return False
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    async def ask(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """What the work returns. Raises OffloadError."""
        try:
            async with asyncio.timeout(self._budget.wall_seconds):
                await frames.send(self._to, frames.pack((work, arguments)))
                kind, value = frames.unpack(await frames.receive(self._from))
        except TimeoutError as error:
            raise TooCostlyError("time") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise await self._obituary() from error
        if kind == "costly":
            raise TooCostlyError(value)
        if kind == "raised":
            raise RaisedError(*value)
        return value

    async def end(self) -> None:
        """Kill it, whatever it is doing."""
        self.dismiss()
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def dismiss(self) -> None:
        """One that has nothing to do ends by itself."""
        self._to.close()

    async def _obituary(self) -> OffloadError:
        code = await self._process.wait()
        return TooCostlyError("cpu") if code == -signal.SIGPROF else BrokenOffError(code)
