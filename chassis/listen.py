"""A LISTEN connection that proves by an echo that it hears, and is opened anew where it does not.

A notice only means "look": anybody in the database may send one, and any may be lost. Knows no payload.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final, NoReturn, TypeAlias

import structlog
from prometheus_client import Counter, Gauge, Histogram

from chassis.backoff import Backoff
from chassis.database import Connection, Pool, connect, passing, told

ECHO_EVERY_SECONDS: Final = 10.0
ECHO_SECONDS: Final = 3.0  # so long may an echo take, and each statement on the connection
RETRY_BASE_SECONDS: Final = 0.1
RETRY_CAP_SECONDS: Final = 5.0

# Before LISTEN as well: it mends "could not access status of transaction", said where the queue's tail is
# older than the commit log (PostgreSQL before 15.16, 17.8, 18.2).
QUEUE_USAGE: Final = "select pg_notification_queue_usage()"
# The latter is false while the queue is nearly full: then nothing was said.
SAY: Final = "select pg_notification_queue_usage() as usage, private.tell($1, '') as said"

NOTICES = Counter("precis_listen_notices_total", "Notices heard, echoes left out.", ["channel"])
LOST = Counter("precis_listen_lost_total", "Times the LISTEN connection was lost, or heard nothing.")
ECHO_TIME = Histogram(
    "precis_listen_echo_seconds",
    "From a notice to ourselves to hearing it.",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
)
USAGE = Gauge("precis_listen_queue_usage", "How full the server's queue of notices is, 0 to 1.")

Handler: TypeAlias = Callable[[str], object]
Session: TypeAlias = Callable[[Connection], Awaitable[object]]

log = structlog.get_logger()


class DeafError(ConnectionError):
    """The connection is open and hears nothing."""


async def _nothing(_connection: Connection) -> None:
    """What most sessions have to hold."""


class ListenConnection:
    """`run` for ever. `listening` is set while notices are sure to arrive, for all that is known.

    A handler gets the payloads of its channel and returns at once: nothing is queued here; what comes
    meanwhile waits in the kernel and in the server. `missed` is called when anything may have been missed:
    after each opening, and again and again while the server's queue is so full that nobody is told. `session`
    sees to what the session must hold, such as a lock: before each echo, hence after each opening, and soon
    after `nudge`.

    The echo is said by a connection of `pool`. That of this one would prove less: after a failover it may be
    at a server that nobody else is at any more.
    """

    def __init__(
        self,
        url: str,
        pool: Pool,
        *,
        name: str,
        handlers: Mapping[str, Handler],
        missed: Callable[[], object],
        session: Session = _nothing,
    ) -> None:
        self._url = url
        self._pool = pool
        self._name = name
        self._handlers = handlers
        self._missed = missed
        self._session = session
        self._stirred = asyncio.Event()
        self._echo = asyncio.Event()
        # Its own, so that no handler has to tell echoes from what it listens for.
        self._echo_channel = f"echo_{secrets.token_hex(8)}"
        self._fault: Exception | None = None
        self.listening = asyncio.Event()

    def nudge(self) -> None:
        """Have `session` called soon."""
        self._stirred.set()

    async def run(self) -> NoReturn:
        """Listen for ever. Raises what a handler raises."""
        delays = Backoff(base=RETRY_BASE_SECONDS, cap=RETRY_CAP_SECONDS)
        while True:
            try:
                async with self._opened() as connection:
                    while True:
                        await self._prove(connection)
                        delays.reset()
                        self.listening.set()
                        await self._rest(connection)
            except Exception as error:
                if error is self._fault or not passing(error):
                    raise
                log.warning("listen.lost", connection=self._name, error=told(error))
            LOST.inc()
            await asyncio.sleep(delays.next())

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Connection]:
        connection = await connect(self._url, name=self._name, command_timeout=ECHO_SECONDS)
        try:
            connection.add_termination_listener(self._closed)
            USAGE.set(await connection.fetchval(QUEUE_USAGE))
            await connection.add_listener(self._echo_channel, lambda *_notice: self._echo.set())
            for channel, handler in self._handlers.items():
                await connection.add_listener(channel, self._hearing(channel, handler))
            self._missed()
            yield connection
        finally:
            self.listening.clear()
            connection.terminate()

    async def _prove(self, connection: Connection) -> None:
        """Raises DeafError, or what tells of a lost connection."""
        await self._session(connection)
        self._echo.clear()
        began = time.monotonic()
        try:
            async with asyncio.timeout(ECHO_SECONDS):
                if await self._say():
                    await self._echo.wait()
                    self._check(connection)
                    ECHO_TIME.observe(time.monotonic() - began)
        except TimeoutError as error:
            raise DeafError(f"no echo within {ECHO_SECONDS} s") from error

    async def _say(self) -> bool:
        """Whether there will be an echo."""
        async with self._pool.acquire(timeout=ECHO_SECONDS) as speaker:
            [row] = await speaker.fetch(SAY, self._echo_channel)
        USAGE.set(row["usage"])
        if not row["said"]:
            log.warning("listen.queue_full", connection=self._name)
            self._missed()  # nobody is told anything now
        return bool(row["said"])

    async def _rest(self, connection: Connection) -> None:
        """Until it is time for another echo, or something has happened."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ECHO_EVERY_SECONDS):
                await self._stirred.wait()
        self._stirred.clear()
        self._check(connection)

    def _check(self, connection: Connection) -> None:
        if self._fault:
            raise self._fault
        if connection.is_closed():
            raise ConnectionError("the server closed the connection")

    def _closed(self, _connection: object) -> None:
        self._stirred.set()
        self._echo.set()

    def _hearing(self, channel: str, handler: Handler) -> Callable[..., None]:
        notices = NOTICES.labels(channel)

        def heard(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            notices.inc()
            try:
                handler(str(payload))
            except Exception as error:  # the loop would only log it
                self._fault = error
                self._stirred.set()

        return heard
