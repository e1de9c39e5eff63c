"""A line: one database connection kept for one purpose, opened again when it is lost.

For statements that must be quick (no pool's reset and probe around them) and must not queue behind others.
Knows no statement.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg

from chassis.database import connect, connection_lost, patiently

T = TypeVar("T")

CLOSE_SECONDS = 2.0
# Plans are cached on empty tables and must still be right when these are full: index scans or nothing. No
# memoize: nothing here is looked up often enough within a statement to pay for setting one up.
GUARD = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_memoize": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}

# The statement has changed nothing and may be run again at once: deadlock_detected, serialization_failure.
AT_ONCE = {"40P01", "40001"}


class KeptConnection:
    """Statements run one after the other. An error that tells of a lost connection closes it; the caller
    tries again."""

    def __init__(self, url: str, *, name: str, command_seconds: float, **settings: str) -> None:
        self._url = url
        self._name = name
        self._command_seconds = command_seconds
        self._settings = GUARD | settings
        self._connection: asyncpg.Connection[Any] | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        async with self._turn:
            self._connection = await patiently(self._open)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._connection.close(timeout=CLOSE_SECONDS)

    async def run(self, statement: Callable[["asyncpg.Connection[Any]"], Awaitable[T]]) -> T:
        """What `statement` returns on the connection. Raises what it raises, and what connecting raises."""
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._open()
            try:
                return await statement(self._connection)
            except BaseException as error:
                # A statement cut off in the middle may still run there: a fresh connection knows nothing of
                # it.
                if not isinstance(error, asyncpg.PostgresError) or connection_lost(error):
                    self._connection.terminate()
                raise

    async def _open(self) -> "asyncpg.Connection[Any]":
        return await connect(
            self._url, name=self._name, command_timeout=self._command_seconds, server_settings=self._settings
        )
