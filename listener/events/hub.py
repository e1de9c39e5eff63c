"""Who is connected, and whose events have to be read. Grants seats, and hands out the audiences that are dirty.

Knows neither database nor HTTP.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

from prometheus_client import Counter, Gauge

from listener.events.stream import Ending, Stream

# An audience is read at most every INTERVAL on average, and a few times in a row at once: a request that is queued,
# runs and ends within a moment is not held up for the sake of the one that changes a hundred times a second.
READ_INTERVAL_SECONDS: Final = 0.1
READS_AT_ONCE: Final = 8
IDLE_SECONDS: Final = 50.0  # so often the gate is asked about streams where nothing happens

CONNECTIONS = Gauge("precis_events_connections", "Open streams.")
CONNECTS = Counter("precis_events_connects_total", "Streams opened.")
CLOSES = Counter("precis_events_closes_total", "Streams closed.", ["reason"])
DIRTY = Gauge("precis_events_dirty_owners", "Audiences that wait to be read.")
QUEUE_BYTES = Gauge("precis_events_queue_bytes", "Bytes waiting in the queues of all streams.")


class NoSeatError(Exception):
    """No room for another stream: of this account, in this process, or at all since it stops."""

    def __init__(self, scope: Literal["account", "process", "stopping"]) -> None:
        super().__init__(scope)
        self.scope = scope


@dataclass(eq=False, slots=True)
class Audience:
    """The streams that read with the same claims: one read serves them all."""

    owner: UUID
    claims: str
    streams: set[Stream] = field(default_factory=set)
    dirty: bool = False
    partials_dirty: bool = False
    busy: bool = False  # waits for its turn, or is being read
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


class Hub:
    """All streams of this process. Everything here happens between two awaits."""

    def __init__(self, *, streams_max: int, streams_per_account: int) -> None:
        self._streams_max = streams_max
        self._streams_per_account = streams_per_account
        self._seats: Tally[UUID] = Tally()
        self._audiences: dict[UUID, dict[str, Audience]] = {}
        self._waiting: asyncio.Queue[Audience] = asyncio.Queue()
        self._last_ending: Ending | None = None
        QUEUE_BYTES.set_function(lambda: sum(stream.size for stream in self.streams()))
        DIRTY.set_function(self._waiting.qsize)

    @contextmanager
    def seat(self, owner: UUID) -> Iterator[None]:
        """Room for one stream. Raises NoSeatError."""
        self.check_room()
        if self._seats[owner] >= self._streams_per_account:
            raise NoSeatError("account")
        self._seats[owner] += 1
        try:
            yield
        finally:
            self._seats[owner] -= 1
            self._seats += Tally()  # drops zeros

    def check_room(self) -> None:
        """Whether a stream of anybody has room. Raises NoSeatError."""
        if self._last_ending:
            raise NoSeatError("stopping")
        if self._seats.total() >= self._streams_max:
            raise NoSeatError("process")

    @contextmanager
    def joined(self, owner: UUID, claims: str, stream: Stream) -> Iterator[None]:
        """Have the stream told what happens, from its position on."""
        audience = self._audiences.setdefault(owner, {}).setdefault(claims, Audience(owner, claims))
        audience.streams.add(stream)
        ...
