"""Children that work on texts: started on demand, kept for a while, asked by owner after owner in turn.

Our own rather than a library's: of pebble's a child that was killed while idle ends the whole pool, all share
one pipe and one lock, and threads of ours look for the end of each; anyio's do not say what they died of, and
are not ended when there is nothing more to do; the standard library's pool breaks with any of its children.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import structlog
from prometheus_client import Counter, Gauge

from listener.offload.errors import BrokenOffError, RaisedError, TooCostlyError
from listener.offload.process import Budget, Child
from listener.offload.turns import Turns
from listener.text import classifier

T = TypeVar("T")

# Up to here a text is worked on at once: all of our functions are linear, and together take some 10 ms for
# so much, which is about what a child costs in both processes. Longer ones could hold the loop.
SHORT_CHARACTERS = 2000
IDLE_SECONDS = 60.0

PIECES = Counter("precis_text_work_total", "Pieces of work on texts in child processes.", ["outcome"])
CHILDREN = Gauge("precis_text_processes", "Child processes that work on texts, or wait for some.")
WAITING = Gauge("precis_text_work_waiting", "Pieces of work on texts that wait for a child process.")

log = structlog.get_logger()


class Offload(Protocol):
    """Work on a text for one owner: `await offload(count_words, text)`. The function must be one of a module,
    and light to import: the child imports it by name. Raises OffloadError."""

    async def __call__(self, work: Callable[..., T], *arguments: Any) -> T: ...


class Pool:
    """`owner` by owner. No more waits here than there are jobs or calls that wait for it: each of them has
    one piece of work at a time."""

    def __init__(self, budget: Budget, *, processes: int = 0, idle_seconds: float = IDLE_SECONDS) -> None:
        self._budget = budget
        self._turns = Turns(processes or os.cpu_count() or 1)
        self._idle_seconds = idle_seconds
        self._idle: dict[Child, asyncio.TimerHandle] = {}
        WAITING.set_function(lambda: self._turns.waiting)

    async def __aenter__(self) -> Self:
        classifier.tables_descriptor()  # half a second the first time: nobody waits here
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            child, timer = self._idle.popitem()
            timer.cancel()
            await self._end(child)

    def owner(self, owner: Hashable) -> "Lane":
        """How this owner's texts are worked on."""
        return Lane(self, owner)

    async def run(self, owner: Hashable, work: Callable[..., T], *arguments: Any) -> T:
        """What the work returns, made in a child. Cancelled, it ends with its child. Raises OffloadError."""
        outcome = "cancelled"
        try:
            async with self._turns.take(owner), self._child() as child:
                result: T = await child.ask(work, arguments)
            outcome = "done"
        except TooCostlyError as error:
            outcome = f"costly_{error.what}"
            raise
        except (BrokenOffError, RaisedError) as error:
            outcome = "broken_off" if isinstance(error, BrokenOffError) else "raised"
            log.error("text_work.failed", work=work.__qualname__, error=f"{type(error).__name__}: {error}")
            raise
        finally:
            PIECES.labels(outcome).inc()
        return result

    @asynccontextmanager
    async def _child(self) -> AsyncIterator[Child]:
        """One to ask. It is kept if nothing came out of it but an answer."""
        child = await self._take()
        try:
            yield child
        except RaisedError:
            self._keep(child)
            raise
        except BaseException:
            await self._end(child)
            raise
        self._keep(child)

    async def _take(self) -> Child:
        while self._idle:
            child, timer = self._idle.popitem()  # the last one used: the others may go
            timer.cancel()
            if child.alive:
                return child
            await self._end(child)
        child = await Child.start(self._budget)
        CHILDREN.inc()
        return child

    def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        self._idle[child] = loop.call_later(self._idle_seconds, self._dismiss, child)

    def _dismiss(self, child: Child) -> None:
        del self._idle[child]
        child.dismiss()
        CHILDREN.dec()

    async def _end(self, child: Child) -> None:
        CHILDREN.dec()
        await child.end()


class Lane:
    """One owner's side of the pool: short texts at once, longer ones in a child."""

    def __init__(self, pool: Pool, owner: Hashable) -> None:
        self._pool = pool
        self._owner = owner
        self._since: float | None = None

    @property
    def busy_seconds(self) -> float:
        """For how long the piece of work that goes on now has waited or run; 0 if there is none."""
        return 0.0 if self._since is None else asyncio.get_running_loop().time() - self._since

    async def __call__(self, work: Callable[..., T], *arguments: Any) -> T:
        """What the work returns. Raises OffloadError."""
        if sum(len(text) for text in arguments if isinstance(text, str)) <= SHORT_CHARACTERS:
            return work(*arguments)
        self._since = asyncio.get_running_loop().time()
        try:
            return await self._pool.run(self._owner, work, *arguments)
        finally:
            self._since = None
