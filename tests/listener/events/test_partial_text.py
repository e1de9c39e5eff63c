"""Partial text on a stream: a preview without an id, which begins anew with each attempt."""

import pytest

from tests.fix_events import Rows, Service
from tests.fix_tokens import Tokens

pytestmark = pytest.mark.services


async def test_text_grows_piece_by_piece_and_ends_in_the_result(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann, bob = tokens.person(), tokens.person()
    request = rows.insert(ann)
    async with events.stream(ann) as client, events.stream(bob) as other:
        epoch = rows.start(request)
        for n, piece in enumerate(["Grüße ", "aus 漢字 ", "und 🙂."], start=1):
            rows.append(request, epoch, n, piece)
        assert await client.text(request, 18) == "Grüße aus 漢字 und 🙂."
        rows.finish(request, "Grüße aus 漢字 und 🙂.")
        assert (await client.row(request, "done")).data["row"]["result"] == "Grüße aus 漢字 und 🙂."
        assert all(frame.id is None for frame in client.frames if frame.event == "partial")
        rows.insert(bob)
        await other.next("change")
        assert {frame.event for frame in other.frames} == {"", "change"}


async def test_who_connects_late_gets_the_whole_text_so_far(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    request = rows.insert(ann)
    epoch = rows.start(request)
    async with events.stream(ann) as early:
        rows.append(request, epoch, 1, "One ")
        rows.append(request, epoch, 2, "two ")
        assert await early.text(request, 8) == "One two "
        async with events.stream(ann, resume=early.last_id) as late:
            first = await late.next("partial")
            assert first.data == {"id": str(request), "epoch": epoch, "from": 0, "text": "One two "}
            rows.append(request, epoch, 3, "three")
            for client in (early, late):
                assert (await client.next("partial")).data == {
                    "id": str(request), "epoch": epoch, "from": 8, "text": "three",
                }  # fmt: skip


async def test_a_second_attempt_begins_anew_and_the_dead_one_is_not_heard(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    request = rows.insert(ann)
    async with events.stream(ann) as client:
        dead = rows.start(request)
        rows.append(request, dead, 1, "Half a thou")
        await client.text(request, 11)
        rows.release(request)
        epoch = rows.start(request)
        rows.append(request, dead, 2, "ght of a zombie")
        rows.append(request, epoch, 1, "A whole thought.")
        again = await client.next("partial")
        assert again.data == {"id": str(request), "epoch": epoch, "from": 0, "text": "A whole thought."}
        rows.finish(request, "A whole thought.")
        assert (await client.row(request, "done")).data["row"]["result"] == "A whole thought."


async def test_text_does_not_arrive_after_the_end(events: Service, tokens: Tokens, rows: Rows) -> None:
    ann = tokens.person()
    async with events.stream(ann) as client:
        for _ in range(5):
            request = rows.insert(ann)
            epoch = rows.start(request)
            for n in range(20):
                rows.append(request, epoch, n, "text ")
            rows.finish(request, "text " * 20)
            await client.row(request, "done")
        last = rows.insert(ann)
        await client.row(last, "queued")
    ended = set[str]()
    for frame in client.frames:
        if frame.event == "change" and frame.data["row"]["state"] == "done":
            ended.add(frame.data["id"])
        assert frame.event != "partial" or frame.data["id"] not in ended
