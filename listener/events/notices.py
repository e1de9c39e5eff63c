"""Hears Postgres say that something happened, on a connection that does nothing else.

A notice only means "look": anybody in the database may send one, and any may be lost. So its content is not
trusted, our own echo proves that notices still arrive, and after each reconnect everybody is dirty.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge, Histogram

from chassis.database import Connection, Pool, backoff, connect, passing, told
from listener.events.hub import Hub
from listener.events.watch import Watches

EVENTS: Final = "precis_event"
PARTIALS: Final = "precis_partial"
ECHO: Final = "echo"
ECHO_SECONDS: Final = 20.0
ECHO_PATIENCE_SECONDS: Final = 5.0
RETRY_BASE_SECONDS: Final = 0.1
RETRY_CAP_SECONDS: Final = 5.0

# Before LISTEN as well: it mends "could not access status of transaction", said where the queue's tail is
# older than the commit log (PostgreSQL before 15.16, 17.8, 18.2).
QUEUE_USAGE: Final = "select pg_notification_queue_usage()"
# Says nothing, and false, while the queue is nearly full.
SEND_ECHO: Final = "select private.tell($1, $2)"

RECEIVED = Counter("precis_events_notify_received_total", "Notices heard.")
RECONNECTS = Counter("precis_events_listen_reconnects_total", "Times the LISTEN connection was made anew.")
ECHO_TIME = Histogram("precis_events_self_notify_rtt_seconds", "How long a notice to ourselves takes.")
USAGE = Gauge("precis_events_notification_queue_usage", "How full the server's queue of notices is, 0 to 1.")

log = structlog.get_logger()


class DeafError(ConnectionError):
    """The connection is open and hears nothing."""


class Notices:
    """Marks in the hub who is dirty. `listening` is set while notices are sure to arrive."""

    def __init__(self, url: str, pool: Pool, hub: Hub, watches: Watches) -> None:
        self._url = url
        self._pool = pool
        self._hub = hub
        self._watches = watches
        self._echo: asyncio.Future[None] | None = None
        self._echo_word = ""
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Listen for ever."""
        delays = backoff(base=RETRY_BASE_SECONDS, cap=RETRY_CAP_SECONDS)
        while True:
            try:
                async with self._connected() as lost:
                    delays = backoff(base=RETRY_BASE_SECONDS, cap=RETRY_CAP_SECONDS)
                    await self._prove(lost)
            except Exception as error:
                if not passing(error):
                    raise
                log.warning("notices.lost", error=told(error))
            finally:
                self.listening.clear()
            RECONNECTS.inc()
            await asyncio.sleep(next(delays))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncio.Event]:
        """Yields the event that says that the connection is gone."""
        lost = asyncio.Event()
        connection = await connect(self._url, name="precis events notices")
        try:
            connection.add_termination_listener(lambda _connection: lost.set())
            await self._listen(connection)
            yield lost
        finally:
            connection.terminate()

    async def _listen(self, connection: Connection) -> None:
        USAGE.set(await connection.fetchval(QUEUE_USAGE))
        await connection.add_listener(EVENTS, self._hear_event)
        await connection.add_listener(PARTIALS, self._hear_partials)
        # Whatever was said before was said to nobody, and this may be another server than before: all watches
        # are set anew, and with that everybody is read again.
        self._watches.distrust()
        self.listening.set()
        log.info("notices.listening")

    async def _prove(self, lost: asyncio.Event) -> None:
        """Echo until the connection is gone, or deaf."""
        while not lost.is_set():
            try:
                async with asyncio.timeout(ECHO_SECONDS):
                    await lost.wait()
            except TimeoutError:
                await self._hear_ourselves()

    async def _hear_ourselves(self) -> None:
        began = time.monotonic()
        self._echo = asyncio.get_running_loop().create_future()
        self._echo_word = f"{ECHO}:{secrets.token_hex(8)}"
        async with self._pool.acquire() as connection:
            USAGE.set(await connection.fetchval(QUEUE_USAGE))
            if not await connection.fetchval(SEND_ECHO, EVENTS, self._echo_word):
                log.warning("notices.queue_full")
                self._watches.distrust()  # nobody is told anything now: everybody is read again
                return
        try:
            async with asyncio.timeout(ECHO_PATIENCE_SECONDS):
                await self._echo
        except TimeoutError as error:
            raise DeafError(f"no echo within {ECHO_PATIENCE_SECONDS:.0f} s") from error
        ECHO_TIME.observe(time.monotonic() - began)

    def _hear_event(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        RECEIVED.inc()
        if payload == self._echo_word and self._echo and not self._echo.done():
            self._echo.set_result(None)
        self._mark(str(payload), partials=False)

    def _hear_partials(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        RECEIVED.inc()
        for item in str(payload).split(","):
            self._mark(item, partials=True)

    def _mark(self, item: str, *, partials: bool) -> None:
        try:
            owner = UUID(item.partition(":")[0])
        except ValueError:
            return
        self._hub.mark(owner, partials=partials)
