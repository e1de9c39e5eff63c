"""One open stream: what it is still to be told, merged and bounded, and the one writer that tells it.

Knows no database and no other stream.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import UUID

from prometheus_client import Counter, Histogram

from listener.events import frames
from listener.events.incarnation import Loss, Position, loss
from listener.events.partials import Partials
from listener.events.reader import Event, Update

HEARTBEAT_SECONDS: Final = 15.0
SLOW_SECONDS: Final = 60.0
FAREWELL_SECONDS: Final = 4.0
QUEUE_MAX_BYTES: Final = 256 * 1024
QUEUE_MAX_EVENTS: Final = 256
FINAL_STATES: Final = ("done", "failed", "cancelled")

Send = Callable[[bytes], Awaitable[None]]
Reason = Literal["client", "slow", "expiry", "session", "age", "shutdown", "error"]

COALESCED = Counter("precis_events_coalesced_total", "Events replaced unsent by a newer one.")
RESETS = Counter("precis_events_resets_total", "Times a client was told to re-read its rows.", ["reason"])
LAG_SECONDS = Histogram("precis_events_notify_lag_seconds", "From a change to its writing.")


@dataclass(frozen=True, slots=True)
class Wish:
    """What of the account's events a stream wants: one request or all, some kinds or all."""

    request: UUID | None = None
    kinds: frozenset[str] = frozenset()

    def covers(self, kind: str, ref: UUID) -> bool:
        return self.request in (None, ref) and (not self.kinds or kind in self.kinds)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a stream ends, and its last words."""

    reason: Reason
    farewell: bytes = b""


@dataclass(eq=False, slots=True)
class Stream:
    """`position` is how far it has been read for; what lies between that and the client is in the queue."""

    transport: asyncio.Transport
    position: Position
    wish: Wish = field(default_factory=Wish)
    ending: Ending | None = None
    behind: bool = False
    partials: Partials = field(default_factory=Partials)
    _told: Position | None = None
    _reset: bytes = b""
    _queue: dict[tuple[str, UUID], Event] = field(default_factory=dict)
    _queue_bytes: int = 0
    _roused: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def size(self) -> int:
        """How much is queued, in bytes (about: text counts by characters)."""
        return self._queue_bytes + self.partials.size

    @property
    def full(self) -> bool:
        """Whether the client must read first. Until then only its position is kept."""
        return self.size >= QUEUE_MAX_BYTES or len(self._queue) >= QUEUE_MAX_EVENTS

    def accept(self, reading: Update) -> None:
        """Queue what is new to this stream, until the queue is full: then the rest has to be read again."""
        if reason := loss(self.position, reading.head):
            self.start_over(reason, Position(reading.head.incarnation, reading.head.n))
        else:
            self._accept_events(reading)
        for piece in reading.pieces:
            if self.full:
                break
            if self.wish.covers("request", piece.request_id):
                self.partials.add(piece)
        self.behind = self.full or self.position.n < reading.reached
        if self._queue or self._reset or self.partials.size:
            self._roused.set()

    def start_over(self, reason: Loss, position: Position) -> None:
        """The client must re-read its rows; what was queued is in them."""
        RESETS.labels(reason).inc()
        self._reset, self.position = frames.reset(reason, position), position
        self._queue.clear()
        self._queue_bytes = 0
        self.partials = Partials()
        self._roused.set()

    def end(self, ending: Ending) -> None:
        """Close the stream: its writer says the last words. The first reason stands."""
        if self.ending is None:
            self.ending = ending
            self._roused.set()
            # A client that does not read cannot keep us. (The connection serves this one response only.)
            patience = FAREWELL_SECONDS if ending.farewell else 0
            asyncio.get_running_loop().call_later(patience, self.transport.abort)

    async def write(self, send: Send, opening: bytes, ask: Callable[[], None]) -> None:
        """Tell until the stream ends, `opening` first. `ask` has more read, once there is room again."""
        self._told = self.position
        await self._send(send, opening)
        while self.ending is None:
            await self._send(send, await self._next())
            if self.behind and not self.full:
                self.behind = False
                ask()
        if self.ending.farewell:
            await self._send(send, self.ending.farewell)

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._roused.wait()
        except TimeoutError:
            return frames.HEARTBEAT + self._catch_up()
        self._roused.clear()
        return self._take()

    async def _send(self, send: Send, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(SLOW_SECONDS):
                await send(chunk)
        except TimeoutError:
            self.end(Ending("slow"))
        except ConnectionError:
            self.end(Ending("client"))

    def _accept_events(self, reading: Update) -> None:
        for event in reading.events:
            if self.full:
                return
            if event.n > self.position.n:
                self._accept_event(event)
                self._move(event.n)
        self._move(max(self.position.n, reading.reached))

    def _move(self, n: int) -> None:
        self.position = Position(self.position.incarnation, n)

    def _accept_event(self, event: Event) -> None:
        if event.state != "running":
            self.partials.settle(event.ref, ended=event.gone or event.state in FINAL_STATES)
        # A row that is neither gone nor there was deleted since: its tombstone has a higher number.
        if not self.wish.covers(event.kind, event.ref) or (event.row is None and not event.gone):
            return
        if replaced := self._queue.pop((event.kind, event.ref), None):
            COALESCED.inc()
            self._queue_bytes -= len(replaced.row or "")
        self._queue[event.kind, event.ref] = event  # at the end: the queue is in the order of its numbers
        self._queue_bytes += len(event.row or "")

    def _take(self) -> bytes:
        """Everything queued, rows before partial text."""
        parts, self._reset = [self._reset], b""
        for event in self._queue.values():
            LAG_SECONDS.observe(max(0.0, (datetime.now(UTC) - event.at).total_seconds()))
            self._told = Position(self.position.incarnation, event.n)
            parts.append(frames.change(event, self._told))
        self._queue.clear()
        self._queue_bytes = 0
        parts += [frames.partial(*waiting) for waiting in self.partials.take()]
        return b"".join(parts)

    def _catch_up(self) -> bytes:
        """Where only events went by that this stream does not want, its client's position is moved along."""
        if self._told == self.position:
            return b""
        self._told = self.position
        return frames.cursor(self.position)
