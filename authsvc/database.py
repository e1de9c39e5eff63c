"""Borrowing a connection for a moment: a request that cannot get one soon is refused, not queued.

Knows no statement.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chassis.database import Pool

ACQUIRE_SECONDS = 2.0
CONNECT_SECONDS = 2.0
COMMAND_SECONDS = 6.0  # a little above the role's statement_timeout: the server should be the one to give up

if TYPE_CHECKING:  # generic for the type checker only
    Connection: TypeAlias = asyncpg.Connection[Any] | PoolConnectionProxy[Any]
else:
    Connection = asyncpg.Connection

# The server is there and gave up: statement_timeout, lock_timeout, a serialisation or deadlock victim.
GAVE_UP = (
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)


@asynccontextmanager
async def borrowed(pool: Pool) -> AsyncIterator[Connection]:
    """A connection in autocommit. Raises TimeoutError when none is free soon."""
    async with pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
        yield connection


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A connection inside one transaction."""
    async with borrowed(pool) as connection, connection.transaction():
        yield connection
