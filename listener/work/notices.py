"""The LISTEN connection: hears the doorbell and the control channel, and proves by an echo that it does.

A notice only means "look". After every (re)connection everything is looked at. Holds the session lock by
which others see that this process lives.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, LiteralString, Protocol

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from chassis.database import backoff, connect, passing, told
from listener.queue.rescue import ALIVE_LOCK

BELL = "precis_bell"
CONTROL = "precis_control"
ECHO = "echo:"
PING_SECONDS = 10.0
ECHO_SECONDS = 3.0

# Whether it was said: not while the server's queue is nearly full, which somebody else keeps so.
TELL: LiteralString = "select private.tell($1, $2)"
# $1 class, $2 worker. Waits for a sweeper that is just trying it.
SHOW_LIFE: LiteralString = "select pg_advisory_lock($1, $2)"

RINGS = Counter("precis_rings_total", "Notices of the doorbell that were heard.")
RECONNECTS = Counter("precis_notices_reconnects_total", "Times the LISTEN connection was opened.")
ECHO_TIME = Histogram(
    "precis_notices_echo_seconds",
    "From a notice to ourselves to hearing it.",
    buckets=(0.001, 0.003, 0.01, 0.1, 1, 3),
)

log = structlog.get_logger()


class Ear(Protocol):
    """Who is told."""

    def rung(self) -> None:
        """A job may be ready."""

    def told(self, payload: str) -> None:
        """Look again: at a request of that id, or at models and slots. Anybody can send this; trust nothing
        of it."""

    def reconnected(self) -> None:
        """Anything may have been missed."""


class Notices:
    """`run` for ever; `show_life(worker)` on the connection, now and after each reconnection."""

    def __init__(self, url: str, *, name: str, ear: Ear, worker: Callable[[], int]) -> None:
        self._url = url
        self._name = name
        self._ear = ear
        self._worker = worker
        self._shown: int | None = None
        self._echo = asyncio.Event()
        self._token = ""
        self._again = asyncio.Event()

    @property
    def shows_life(self) -> bool:
        """Whether others see the worker's lock, for all we know: a dark network tells nothing."""
        return self._shown == self._worker()

    def show_life(self) -> None:
        """The worker has another id now."""
        self._again.set()

    async def run(self) -> None:
        """Listen for ever."""
        delays = backoff(base=0.1, cap=5.0)
        while True:
            try:
                async with self._connected() as connection:
                    RECONNECTS.inc()
                    self._ear.reconnected()
                    while True:
                        await self._ping(connection)
                        delays = backoff(base=0.1, cap=5.0)
                        await self._rest(connection)
            except Exception as error:
                if not passing(error):
                    raise
                log.warning("notices.lost", error=told(error))
            await asyncio.sleep(next(delays))

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator["asyncpg.Connection[Any]"]:
        connection = await connect(self._url, name=self._name, command_timeout=ECHO_SECONDS)
        try:
            connection.add_termination_listener(lambda _connection: self._again.set())
            await connection.add_listener(BELL, self._heard)
            await connection.add_listener(CONTROL, self._heard)
            self._shown = None
            yield connection
        finally:
            self._shown = None
            connection.terminate()

    async def _ping(self, connection: "asyncpg.Connection[Any]") -> None:
        """Raises TimeoutError, or what tells of a lost connection."""
        if self._shown != self._worker():
            await connection.execute(SHOW_LIFE, ALIVE_LOCK, self._worker())
            self._shown = self._worker()
        self._echo.clear()
        self._token = ECHO + secrets.token_hex(8)
        with ECHO_TIME.time():
            if not await connection.fetchval(TELL, CONTROL, self._token):
                log.warning("notices.queue_full")
                self._ear.reconnected()  # nobody is told anything now
                return
            async with asyncio.timeout(ECHO_SECONDS):
                await self._echo.wait()

    async def _rest(self, connection: "asyncpg.Connection[Any]") -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PING_SECONDS):
                await self._again.wait()
        self._again.clear()
        if connection.is_closed():
            raise ConnectionError("the server closed the connection")

    def _heard(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        if channel == BELL:
            RINGS.inc()
            self._ear.rung()
        elif str(payload).startswith(ECHO):
            if payload == self._token:
                self._echo.set()
        else:
            self._ear.told(str(payload))
