"""Hears a model's answer piece by piece: shows what is clean of it so far, and notices a loop.

A preview: the whole answer is cleaned once more when it is there. Knows no request and no model.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from listener.errors import TransientError
from listener.tasks.cleaner import Cleaner
from listener.tasks.request import Emit
from listener.text.repetition import looping

STREAMED = 0.9  # of the progress; the rest is for checks and the corrective turn
TURN_CHARACTERS = 2_000  # that are worked on before the event loop goes on with other things
REST_SECONDS = 0.02  # between two turns, where more has come at once: five times as fast as any model
SOURCE_CHARACTERS = 20_000  # of the source, where the preview looks for what only seems to be a courtesy
LOOP_CHARACTERS = 4_000
LOOK_EACH_CHARACTERS = 500


class AnswerStream:
    """`hear` each piece within the block, `finish` when there are no more. However much comes at once, a few
    thousand characters of it at most are worked on in each turn of the loop."""

    def __init__(self, delimiter: str, source: str, emit: Emit | None, expected_characters: float) -> None:
        self._cleaner = Cleaner(delimiter=delimiter, source=source[:SOURCE_CHARACTERS])
        self._source = source  # what repeats itself there may do so here
        self._emit = emit
        self._expected = expected_characters
        self._published = 0
        self._waiting: deque[str] = deque()
        self._turn: asyncio.Handle | None = None
        self._tail = ""
        self._unlooked = 0
        self._fault: TransientError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        if self._turn is not None:
            self._turn.cancel()

    def hear(self, piece: str) -> None:
        """Raises TransientError once the model has gone into a loop."""
        if self._fault is not None:
            raise self._fault
        for at in range(0, len(piece), TURN_CHARACTERS):
            self._waiting.append(piece[at : at + TURN_CHARACTERS])
        self._tail = (self._tail + piece)[-LOOP_CHARACTERS:]
        self._unlooked += len(piece)
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._work)

    def look(self) -> None:
        """Raises TransientError if the answer so far has gone into a loop."""
        self._look()
        if self._fault is not None:
            raise self._fault

    def finish(self) -> None:
        """Show the end too, if the preview has come so far. Raises TransientError for a loop."""
        self.look()
        self._take()
        if not self._waiting:
            self._show(self._cleaner.finish())

    def _work(self) -> None:
        self._take()
        self._look()
        more = self._waiting and self._fault is None
        self._turn = asyncio.get_running_loop().call_later(REST_SECONDS, self._work) if more else None

    def _take(self) -> None:
        taken: list[str] = []
        room = TURN_CHARACTERS
        while self._waiting and len(self._waiting[0]) <= room:
            taken.append(self._waiting.popleft())
            room -= len(taken[-1])
        if taken:
            self._show(self._cleaner.feed("".join(taken)))

    def _look(self) -> None:
        if self._unlooked < LOOK_EACH_CHARACTERS:
            return
        self._unlooked = 0
        if looping(self._tail, source=self._source):
            message = "The model began to repeat itself without end; it is tried again by itself."
            self._fault = TransientError("answer_loops", message)

    def _show(self, fresh: str) -> None:
        # Once it shows that published text was no part of the answer, the preview stays as it is until the
        # result.
        if not fresh or self._emit is None or self._cleaner.replaced:
            return
        self._published += len(fresh)
        self._emit(fresh, STREAMED * min(1.0, self._published / max(1.0, self._expected)))
