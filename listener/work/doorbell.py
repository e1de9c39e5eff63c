"""The doorbell's other side: holds the SHARE lock on private.bell while this worker is hungry, on a
connection of its own.

Who makes a job ready rings only if that lock is held or waited for. Knows nothing of jobs.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, LiteralString

import asyncpg
import structlog
from prometheus_client import Gauge

from chassis.backoff import Backoff
from chassis.database import connect, passing, told

# Waits for those who are making a job ready now: they did not ring.
HANG_UP_A_SIGN: LiteralString = "lock table private.bell in share mode"
BEGIN: LiteralString = "begin"
TAKE_IT_DOWN: LiteralString = "rollback"
STILL_THERE: LiteralString = "select 1"
# This transaction waits, and stays open, for as long as it takes. Older servers do not know all of these.
PATIENT: LiteralString = """
select set_config(s.name, '0', false) from pg_settings s
 where s.name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout',
     'transaction_timeout')
"""
CHECK_SECONDS = 10.0
ANSWER_SECONDS = 5.0

HUNGRY = Gauge("precis_hungry", "1 while this worker asks to be rung for new jobs.")

log = structlog.get_logger()


class Doorbell:
    """`want` it rung, `rest` from it. `ringing` is true from when every job made ready rings."""

    def __init__(self, url: str, *, name: str, changed: Callable[[], None]) -> None:
        self._url = url
        self._name = name
        self._changed = changed
        self._wanted = asyncio.Event()
        self._stirred = asyncio.Event()
        self.ringing = False

    def want(self) -> None:
        """We have a free slot and found nothing: from some moment on, be rung. `changed` tells when."""
        self._wanted.set()

    def rest(self) -> None:
        """All slots are full: nobody needs to ring."""
        self._wanted.clear()
        self._stirred.set()
        self.ringing = False

    async def run(self) -> None:
        """Hold the lock whenever it is wanted, for ever, on whatever connection there is."""
        delays = Backoff(base=0.1, cap=5.0)
        while True:
            try:
                async with self._connected() as connection:
                    while True:
                        await self._wanted.wait()
                        await self._hold(connection)
                        delays.reset()
            except Exception as error:
                if not passing(error):
                    raise
                log.warning("doorbell.lost", error=told(error))
            await asyncio.sleep(delays.next())

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator["asyncpg.Connection[Any]"]:
        connection = await connect(self._url, name=self._name, command_timeout=None)
        try:
            connection.add_termination_listener(lambda _connection: self._stirred.set())
            await connection.execute(PATIENT)
            yield connection
        finally:
            connection.terminate()
            HUNGRY.set(0)
            self.ringing = False
            self._changed()

    async def _hold(self, connection: "asyncpg.Connection[Any]") -> None:
        # No `async with connection.transaction()`: on a connection that is gone, its end would hide a
        # cancellation.
        await connection.execute(BEGIN)
        await connection.execute(HANG_UP_A_SIGN)
        if self._wanted.is_set():
            self.ringing = True
            HUNGRY.set(1)
            self._changed()
        while self._wanted.is_set():
            await self._sleep(connection)
        await connection.execute(TAKE_IT_DOWN)
        HUNGRY.set(0)

    async def _sleep(self, connection: "asyncpg.Connection[Any]") -> None:
        """Until something happens. Raises what tells of a lost connection."""
        self._stirred.clear()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._stirred.wait()
        except TimeoutError:
            await connection.execute(STILL_THERE, timeout=ANSWER_SECONDS)
        if connection.is_closed():
            raise ConnectionError("the server closed the connection")
