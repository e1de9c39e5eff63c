"""What waits in one stream's queue: merged, in order, bounded, and never older than what was said."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from listener.events.incarnation import Head, Position
from listener.events.reader import Event, Piece, Update
from listener.events.stream import QUEUE_MAX_BYTES, QUEUE_MAX_EVENTS, Ending, Stream

HERE = "0123456789ab"


async def test_several_changes_of_a_row_become_the_newest_one() -> None:
    stream, row, other = opened(), uuid4(), uuid4()
    stream.accept(reading(event(1, row, "queued"), event(2, other, "queued")))
    stream.accept(reading(event(3, row, "running")))
    assert [(data["id"], data["row"]["state"]) for data in await told(stream)] == [
        (str(other), "queued"),
        (str(row), "running"),
    ]


async def test_text_that_waits_when_the_end_comes_is_not_told() -> None:
    stream, row = opened(), uuid4()
    stream.accept(reading(event(1, row, "running"), pieces=(Piece(row, 1, 1, "Half a"),)))
    stream.accept(reading(event(2, row, "done")))
    assert [data.get("row", data).get("state") for data in await told(stream)] == ["done"]
    assert stream.partials.seen == {}


async def test_a_full_queue_takes_no_more_and_knows_that_it_is_behind() -> None:
    stream = opened()
    stream.accept(reading(*(event(n, uuid4(), "queued") for n in range(1, QUEUE_MAX_EVENTS + 10))))
    assert stream.full
    assert stream.behind
    assert stream.position.n == QUEUE_MAX_EVENTS


async def test_long_rows_and_long_texts_fill_the_queue_as_well() -> None:
    rows, texts = opened(), opened()
    rows.accept(reading(event(1, uuid4(), "done", result="x" * QUEUE_MAX_BYTES)))
    texts.accept(reading(pieces=(Piece(uuid4(), 1, 1, "x" * QUEUE_MAX_BYTES), Piece(uuid4(), 1, 1, "y"))))
    assert rows.full
    assert texts.full
    assert len(texts.partials.seen) == 1


async def test_a_row_that_may_not_be_seen_is_passed_over() -> None:
    stream = opened()
    stream.accept(reading(Event(1, "request", uuid4(), False, datetime.now(UTC), None, None, False)))
    assert stream.position.n == 1
    assert stream.size == 0


async def test_what_waited_before_a_reset_is_not_told_after_it() -> None:
    stream, row = opened(), uuid4()
    stream.accept(reading(event(1, uuid4(), "queued")))
    stream.accept(Update(Head("ba9876543210", n=7, min_n=0)))
    stream.accept(Update(Head("ba9876543210", n=8, min_n=0), (event(8, row, "queued"),)))
    reset, change = await told(stream)
    assert (reset["reason"], change["id"]) == ("foreign", str(row))


def opened() -> Stream:
    return Stream(asyncio.Transport(), Position(HERE, 0))


def event(n: int, ref: UUID, state: str, **columns: Any) -> Event:
    row = json.dumps({"state": state} | columns)
    return Event(n, "request", ref, False, datetime.now(UTC), state, row, False)


def reading(*events: Event, pieces: tuple[Piece, ...] = ()) -> Update:
    last = events[-1].n if events else 0
    return Update(Head(HERE, n=last, min_n=0), events, pieces)


async def told(stream: Stream) -> list[dict[str, Any]]:
    """The data of everything that waits, in its order."""
    chunks: list[bytes] = []

    async def send(chunk: bytes) -> None:
        chunks.append(chunk)
        if chunk:
            stream.end(Ending("age", b":"))

    await stream.write(send, b"", lambda: None)
    lines = b"".join(chunks).decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
