"""Who is connected, and whose events have to be read. Grants seats and hands out dirty audiences.

Knows neither database nor HTTP.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

from prometheus_client import Counter, Gauge

from listener.events.stream import Ending, Stream

# An audience is read at most every INTERVAL on average, a few times in a row at once: a request that is
# queued, runs and ends within a moment is not held up. Only where others wait, busy ones are read rarely.
READ_INTERVAL_SECONDS: Final = 0.01
CROWDED_INTERVAL_SECONDS: Final = 0.1
READS_AT_ONCE: Final = 10
IDLE_SECONDS: Final = 50.0  # so often the gate is asked about streams where nothing happens

CONNECTIONS = Gauge("precis_events_connections", "Open streams.")
CONNECTS = Counter("precis_events_connects_total", "Streams opened.")
CLOSES = Counter("precis_events_closes_total", "Streams closed.", ["reason"])
DIRTY = Gauge("precis_events_dirty_owners", "Audiences that wait to be read.")
QUEUE_BYTES = Gauge("precis_events_queue_bytes", "Bytes waiting in the queues of all streams.")


class TooManyStreamsError(Exception):
    """No room for another stream: of this account, in this process, or at all since it stops."""

    def __init__(self, scope: Literal["account", "process", "stopping"]) -> None:
        super().__init__(scope)
        self.scope = scope


@dataclass(eq=False, slots=True)
class Audience:
    """The streams that read with the same claims: one read serves them all.

    `busy` while it waits for its turn or is being read; `due_at` is the account of its reads, in loop time.
    """

    owner: UUID
    claims: str
    streams: set[Stream] = field(default_factory=set)
    dirty: bool = False
    partials_dirty: bool = False
    busy: bool = False
    due_at: float = 0.0

    def seen(self, streams: Collection[Stream]) -> list[tuple[UUID, int, int]]:
        """(request, epoch, n) up to which all of `streams` that want it have a request's text."""
        requests = {request for stream in streams for request in stream.partials.seen}
        lows = [self._lowest(request, streams) for request in requests]
        return [low for low in lows if low]

    def _lowest(self, request: UUID, streams: Collection[Stream]) -> tuple[UUID, int, int] | None:
        wanting = [s.partials.seen.get(request) for s in streams if s.wish.covers("request", request)]
        known = [seen for seen in wanting if seen]
        if len(known) < len(wanting):
            return None
        low = min(known)
        return request, low.epoch, low.n


@dataclass(frozen=True, slots=True)
class Turn:
    """An audience to be read for the streams it has now: who joins meanwhile may know more than the read."""

    audience: Audience
    streams: tuple[Stream, ...]
    partials: bool


class Hub:
    """All streams of this process. What it does happens between two awaits."""

    def __init__(self, *, streams_max: int, streams_per_account: int) -> None:
        self._streams_max = streams_max
        self._streams_per_account = streams_per_account
        self._ending: Callable[[], Ending] | None = None
        self._seats: Tally[UUID] = Tally()
        self._audiences: dict[UUID, dict[str, Audience]] = {}
        self._waiting: asyncio.Queue[Audience] = asyncio.Queue()
        QUEUE_BYTES.set_function(lambda: sum(stream.size for stream in self._streams()))
        DIRTY.set_function(self._waiting.qsize)

    def check_room(self) -> None:
        """Raises TooManyStreamsError where no account would get a seat."""
        if self._ending:
            raise TooManyStreamsError("stopping")
        if self._seats.total() >= self._streams_max:
            raise TooManyStreamsError("process")

    @contextmanager
    def seat(self, owner: UUID) -> Iterator[None]:
        """Room for one stream of the account. Raises TooManyStreamsError."""
        self.check_room()
        if self._seats[owner] >= self._streams_per_account:
            raise TooManyStreamsError("account")
        self._seats[owner] += 1
        try:
            yield
        finally:
            self._seats[owner] -= 1
            if not self._seats[owner]:
                del self._seats[owner]

    def seated(self) -> set[UUID]:
        """The accounts that have a stream, or are about to have one."""
        return set(self._seats)

    @contextmanager
    def joined(self, owner: UUID, claims: str, stream: Stream) -> Iterator[Callable[[], None]]:
        """Have the stream told what happens after its position. Yields how it asks to be read for."""
        audience = self._audiences.setdefault(owner, {}).setdefault(claims, Audience(owner, claims))
        audience.streams.add(stream)
        CONNECTS.inc()
        CONNECTIONS.inc()
        self.soil(audience, partials=True)
        if self._ending:  # it was let in just before
            stream.end(self._ending())
        try:
            yield lambda: self.soil(audience, partials=True)
        finally:
            CONNECTIONS.dec()
            CLOSES.labels(stream.ending.reason if stream.ending else "client").inc()
            self._leave(audience, stream)

    def mark(self, owner: UUID, *, partials: bool) -> None:
        """The account's events have to be read, and perhaps its partial text."""
        for audience in self._audiences.get(owner, {}).values():
            self.soil(audience, partials=partials)

    def soil(self, audience: Audience, *, partials: bool) -> None:
        """Have the audience read, after the read that is under way if there is one."""
        audience.dirty = True
        audience.partials_dirty |= partials
        if not audience.busy:
            self._enqueue(audience)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """The next audience to be read. Nobody else gets it until the block ends."""
        audience = await self._waiting.get()
        partials = audience.partials_dirty
        audience.dirty = audience.partials_dirty = False
        try:
            yield Turn(audience, tuple(audience.streams), partials)
        finally:
            audience.busy = False
            if audience.dirty and audience.streams:
                self._enqueue(audience)

    def sweep(self) -> None:
        """Let go of streams whose client is gone, and have the gate asked about idle ones."""
        now = asyncio.get_running_loop().time()
        for audience in self._each():
            if now - audience.due_at > IDLE_SECONDS:
                self.soil(audience, partials=False)
        for stream in self._streams():
            if stream.transport.is_closing():
                stream.end(Ending("client"))

    def stop(self, ending: Callable[[], Ending]) -> None:
        """Give no more seats, and end every stream."""
        self._ending = ending
        for stream in self._streams():
            stream.end(ending())

    def _each(self) -> Iterator[Audience]:
        for audiences in self._audiences.values():
            yield from audiences.values()

    def _streams(self) -> Iterator[Stream]:
        for audience in self._each():
            yield from audience.streams

    def _leave(self, audience: Audience, stream: Stream) -> None:
        audience.streams.remove(stream)
        if not audience.streams:
            siblings = self._audiences[audience.owner]
            del siblings[audience.claims]
            if not siblings:
                del self._audiences[audience.owner]

    def _enqueue(self, audience: Audience) -> None:
        audience.busy = True
        loop = asyncio.get_running_loop()
        earliest = loop.time() - READS_AT_ONCE * READ_INTERVAL_SECONDS
        interval = READ_INTERVAL_SECONDS if self._waiting.empty() else CROWDED_INTERVAL_SECONDS
        audience.due_at = max(audience.due_at, earliest) + interval
        if audience.due_at <= loop.time():
            self._waiting.put_nowait(audience)
        else:
            loop.call_at(audience.due_at, self._waiting.put_nowait, audience)
