"""What the database says to a worker: rings of the doorbell and control messages, on the connection whose
session lock shows others that this process lives.

Knows no job.
"""

from collections.abc import Callable
from typing import Literal, LiteralString, NoReturn, Protocol
from uuid import UUID

from chassis.database import Connection, Pool
from chassis.listen import ListenConnection
from listener.queue.rescue import ALIVE_LOCK

BELL = "precis_bell"
CONTROL = "precis_control"

# $1 class, $2 worker. Waits for a sweeper that is just trying it.
SHOW_LIFE: LiteralString = "select pg_advisory_lock($1, $2)"

# What has changed: models and slots, or the request of that id.
Control = Literal["models"] | UUID


class NoticeHandler(Protocol):
    """Who is told."""

    def on_bell(self) -> None:
        """A job may be ready."""

    def on_control(self, about: Control) -> None:
        """Look at it again. Anybody can send this."""

    def reconnected(self) -> None:
        """Anything may have been missed."""


class Notices:
    """`run` for ever; `show_life` when the worker has another id."""

    def __init__(
        self, url: str, pool: Pool, *, name: str, handler: NoticeHandler, worker: Callable[[], int]
    ) -> None:
        self._handler = handler
        self._worker = worker
        self._shown: tuple[Connection, int] | None = None
        self._connection = ListenConnection(
            url,
            pool,
            name=name,
            handlers={BELL: lambda _nothing: handler.on_bell(), CONTROL: self._heard_control},
            missed=handler.reconnected,
            session=self._hold_lock,
        )

    @property
    def shows_life(self) -> bool:
        """Whether others see the worker's lock, for all we know: a dark network tells nothing."""
        if self._shown is None:
            return False
        connection, worker = self._shown
        return worker == self._worker() and not connection.is_closed()

    def show_life(self) -> None:
        """The worker has another id now."""
        self._connection.nudge()

    async def run(self) -> NoReturn:
        """Listen for ever."""
        await self._connection.run()

    async def _hold_lock(self, connection: Connection) -> None:
        held = (connection, self._worker())
        if self._shown != held:
            await connection.execute(SHOW_LIFE, ALIVE_LOCK, self._worker())
            self._shown = held

    def _heard_control(self, payload: str) -> None:
        about = parse_control(payload)
        if about is not None:
            self._handler.on_control(about)


def parse_control(payload: str) -> Control | None:
    """What a control message is about; None for one that says nothing we know."""
    if payload == "models":
        return "models"
    try:
        return UUID(payload)
    except ValueError:
        return None
