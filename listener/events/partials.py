"""How much of each running request's text one stream has, and what of it still waits to be told.

Knows no framing and no connection.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from listener.events.reader import Piece


class Seen(NamedTuple):
    """The last piece of the newest epoch, and how many characters there are with it."""

    epoch: int
    n: int
    length: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Text that continues an epoch after `offset` characters."""

    epoch: int
    offset: int
    texts: list[str]


@dataclass(slots=True)
class Partials:
    """Pieces come in order, more than once perhaps; a newer epoch begins anew."""

    seen: dict[UUID, Seen] = field(default_factory=dict)
    size: int = 0
    _waiting: dict[UUID, Waiting] = field(default_factory=dict)

    def add(self, piece: Piece) -> None:
        """Queue the piece, unless this stream has it."""
        seen = self.seen.get(piece.request_id)
        if seen is None or seen.epoch < piece.epoch:
            self._drop(piece.request_id)
            seen = Seen(piece.epoch, -1, 0)
        elif (seen.epoch, seen.n) >= (piece.epoch, piece.n):
            return
        waiting = self._waiting.setdefault(piece.request_id, Waiting(piece.epoch, seen.length, []))
        waiting.texts.append(piece.text)
        self.size += len(piece.text)
        self.seen[piece.request_id] = Seen(piece.epoch, piece.n, seen.length + len(piece.text))

    def settle(self, request_id: UUID, *, ended: bool) -> None:
        """The request is not running: what waits is outdated. After the end there is nothing to continue."""
        self._drop(request_id)
        if ended:
            self.seen.pop(request_id, None)

    def take(self) -> Iterator[tuple[UUID, int, int, str]]:
        """(request, epoch, offset, text) of everything that waits."""
        waiting, self._waiting, self.size = self._waiting, {}, 0
        for request_id, part in waiting.items():
            yield request_id, part.epoch, part.offset, "".join(part.texts)

    def _drop(self, request_id: UUID) -> None:
        if part := self._waiting.pop(request_id, None):
            self.size -= sum(map(len, part.texts))
