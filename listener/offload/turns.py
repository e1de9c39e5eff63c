"""So many places, and who waits for one: by turns of their owners, first come first served within an owner.

However much one owner has waiting, another's next one waits for one turn of each.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """`take` a place for as long as the block lasts."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}  # whose turn is next stands first

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def take(self, owner: Hashable) -> AsyncIterator[None]:
        """A place. Who is cancelled while waiting takes no turn."""
        await self._enter(owner)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, owner: Hashable) -> None:
        if self._free:
            self._free -= 1
            return
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(called)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._leave()  # called up in the same moment
            else:
                self._forget(owner, called)
            raise

    def _leave(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        owner = next(iter(self._waiting))
        line = self._waiting.pop(owner)
        called = line.popleft()
        if line:
            self._waiting[owner] = line  # behind all others
        called.set_result(None)

    def _forget(self, owner: Hashable, called: "asyncio.Future[None]") -> None:
        self._waiting[owner].remove(called)
        if not self._waiting[owner]:
            del self._waiting[owner]
