"""What a person sees on their streams, and where they go on after a break."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.fix_events import PATIENCE_SECONDS, Rows, Service, insert_as
from tests.fix_tokens import Person, Tokens

pytestmark = pytest.mark.services

READS = "precis_events_fetch_seconds_count"


async def test_both_tabs_of_two_people_see_all_of_their_own_and_nothing_else(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann, bob = tokens.person(), tokens.person()
    async with (
        events.stream(ann) as ann_1,
        events.stream(ann) as ann_2,
        events.stream(bob) as bob_1,
        events.stream(bob) as bob_2,
    ):
        seen = {client: set[str]() for client in (ann_1, ann_2, bob_1, bob_2)}
        for number in range(10):
            rows.insert(ann, title=f"ann {number}")
            rows.insert(bob, title=f"bob {number}")
        for client, titles in seen.items():
            while len(titles) < 10:
                titles.add((await client.next("change")).data["row"]["title"])
        for client, name in [(ann_1, "ann"), (ann_2, "ann"), (bob_1, "bob"), (bob_2, "bob")]:
            assert seen[client] == {f"{name} {number}" for number in range(10)}


async def test_a_life_of_a_request_arrives_in_order(events: Service, tokens: Tokens, rows: Rows) -> None:
    ann = tokens.person()
    async with events.stream(ann) as client:
        request = rows.insert(ann)
        queued = await client.row(request, "queued")
        rows.start(request)
        running = await client.row(request, "running")
        rows.finish(request, "Short.")
        done = await client.row(request, "done")
        assert done.data["row"]["result"] == "Short."
        assert [number(frame.id) for frame in (queued, running, done)] == [1, 2, 3]


async def test_the_row_has_every_column_that_rest_shows_but_the_text(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    async with events.stream(ann) as client:
        rows.insert(ann)
        row = (await client.next("change")).data["row"]
    shown = rows.execute(
        "select column_name from information_schema.columns"
        " where table_schema = 'public' and table_name = 'requests' and column_name <> 'text'"
    )
    assert set(row) == {name for (name,) in shown}


async def test_the_opening_stores_a_cursor_and_dispatches_nothing(events: Service, tokens: Tokens) -> None:
    async with events.stream(tokens.person()) as client:
        assert 2_000 <= (client.frames[0].retry or 0) <= 3_000
        opening = await client.next()
        assert opening.event == ""
        assert number(opening.id) == 0
        assert client.response.headers["Content-Type"] == "text/event-stream"
        assert client.response.headers["Cache-Control"] == "no-store"
        assert client.response.headers["X-Accel-Buffering"] == "no"


async def test_a_deleted_row_is_a_tombstone_to_its_owner_and_nothing_to_others(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann, bob = tokens.person(), tokens.person()
    request = rows.insert(ann)
    async with events.stream(ann) as mine, events.stream(bob) as other:
        rows.delete(ann, request)
        assert (await mine.next("tombstone")).data == {"id": str(request), "kind": "request"}
        rows.insert(bob, title="bob's own")
        first = await other.next("change", "tombstone")
        assert first.data["row"]["title"] == "bob's own"


@pytest.mark.parametrize("way", ["header", "parameter"])
async def test_a_client_that_was_away_goes_on_where_it_was(
    events: Service, tokens: Tokens, rows: Rows, way: str
) -> None:
    ann = tokens.person()
    async with events.stream(ann) as client:
        first = rows.insert(ann)
        await client.row(first, "queued")
    missed = [rows.insert(ann) for _ in range(3)]
    rows.delete(ann, first)
    again = (
        events.stream(ann, resume=client.last_id)
        if way == "header"
        else events.stream(ann, lastEventId=client.last_id)
    )
    async with again as resumed:
        assert (await resumed.next()).id == client.last_id
        changes = [await resumed.next("change", "tombstone") for _ in range(4)]
        assert [frame.data["id"] for frame in changes] == [str(request) for request in [*missed, first]]
        assert changes[-1].event == "tombstone"


async def test_the_header_wins_over_the_parameter(events: Service, tokens: Tokens, rows: Rows) -> None:
    ann = tokens.person()
    rows.insert(ann)
    async with events.stream(ann, since="0") as client:
        await client.next("change")
    async with events.stream(ann, resume=client.last_id, lastEventId="nonsense", since="0") as again:
        opening = await again.next()
        assert (opening.event, opening.id) == ("", client.last_id)


async def test_since_0_replays_everything_and_names_each_row_once(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    requests = [rows.insert(ann) for _ in range(250)]
    for request in requests:
        rows.start(request)
    async with events.stream(ann, since="0") as client:
        seen: dict[str, Any] = {}
        while len(seen) < 250 or number(client.last_id) < 500:
            change = (await client.next("change")).data
            seen[change["id"]] = change["row"]["state"]
        assert set(seen) == {str(request) for request in requests}
        assert set(seen.values()) == {"running"}
        assert len([f for f in client.frames if f.event == "change"]) <= 500


@pytest.mark.parametrize(
    ("event_id", "reason"),
    [("0123456789ab.1", "foreign"), ("nonsense\r\nid: 1", "foreign"), ("{incarnation}.99", "ahead"),
     ("{incarnation}.1", "too_old")],
)  # fmt: skip
async def test_who_cannot_be_continued_is_told_to_start_over(
    events: Service, tokens: Tokens, rows: Rows, event_id: str, reason: str
) -> None:
    ann = tokens.person()
    for _ in range(3):
        rows.insert(ann)
    rows.execute("update private.event_cursor set min_n = 2 where owner = %s", ann.account)
    async with events.stream(ann) as client:
        current = (await client.next()).id or ""
    resume = event_id.replace("{incarnation}", current.partition(".")[0])
    async with events.stream(ann, lastEventId=resume) as client:
        reset = await client.next()
        assert (reset.event, reset.data, reset.id) == ("reset", {"reason": reason}, current)
        request = rows.insert(ann)
        assert (await client.next("change")).data["id"] == str(request)


async def test_after_10000_missed_events_a_client_starts_over_and_goes_on(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    request = rows.insert(ann)
    async with events.stream(ann) as client:
        await client.next()
    rows.execute(
        "select private.append_events('request', array_agg(%s::uuid), array_agg(%s::uuid), null, null,"
        " false)"
        " from generate_series(1, 10000)",
        ann.account, request,
    )  # fmt: skip
    async with events.stream(ann, resume=client.last_id) as client:
        reset = await client.next()
        assert (reset.event, number(reset.id)) == ("reset", 10_001)
        rows.start(request)
        assert number((await client.row(request, "running")).id) == 10_002


async def test_a_stream_of_one_request_tells_of_no_other(events: Service, tokens: Tokens, rows: Rows) -> None:
    ann = tokens.person()
    wanted, other = rows.insert(ann), rows.insert(ann)
    async with (
        events.stream(ann) as everything,
        events.stream(ann, request=str(wanted), kind="request") as client,
    ):
        rows.append(other, rows.start(other), 1, "Not for you.")
        await everything.next("partial")
        rows.start(wanted)
        frame = await client.next("change", "partial")
        assert (frame.event, frame.data["id"]) == ("change", str(wanted))


async def test_a_filtered_stream_moves_its_clients_cursor_along(
    events: Service, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.stream.HEARTBEAT_SECONDS", 0.2)
    ann = tokens.person()
    wanted = rows.insert(ann)
    async with events.stream(ann, request=str(wanted)) as client:
        await client.next()
        rows.insert(ann)
        while number(client.last_id) < 2:
            await client.next()
        assert {frame.event for frame in client.frames} == {""}


async def test_a_row_that_is_too_long_comes_without_its_result(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    request = rows.insert(ann)
    rows.start(request)
    async with events.stream(ann) as client:
        rows.finish(request, "long " * 60_000)
        change = await client.row(request, "done")
        assert change.data["truncated"] is True
        assert "result" not in change.data["row"]


async def test_a_backlog_larger_than_a_read_arrives_completely(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    requests = [rows.insert(ann) for _ in range(20)]
    for request in requests:
        rows.start(request)
        rows.finish(request, "word " * 40_000)
    async with events.stream(ann, since="0") as client:
        for request in requests:
            assert len((await client.row(request, "done")).data["row"]["result"]) == 200_000


async def test_nothing_is_lost_between_opening_and_reading_while_others_write(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()

    def write() -> None:
        with rows.database.connect() as writer:
            for _ in range(100):
                with writer.transaction():
                    insert_as(writer, ann)

    async def watch() -> None:
        async with events.stream(ann) as client:
            start = number((await client.next()).id)
            seen = [number((await client.next("change")).id) for _ in range(100 - start)]
            assert seen == list(range(start + 1, 101))

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(write))
        for _ in range(8):
            await asyncio.to_thread(tokens.person)  # some time passes
            group.create_task(watch())


async def test_a_stream_that_opens_waits_for_a_writer_in_flight(
    events: Service, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.watch.PATIENCE", "60s")
    ann = tokens.person()
    async with asyncio.TaskGroup() as group:
        with rows.database.connect() as writer:
            writer.execute("begin")
            insert_as(writer, ann)
            opening = group.create_task(first_number(events, ann))
            while not rows.execute("select 1 from pg_locks where not granted"):
                await asyncio.sleep(0)
            assert not opening.done()
            writer.execute("commit")
    assert opening.result() == 1


async def test_a_writer_that_stays_open_holds_up_no_stream_and_is_heard_later(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    with rows.database.connect() as writer:
        writer.execute("begin")
        request = insert_as(writer, ann)
        before = await events.metric(READS)
        async with events.stream(ann) as client:
            assert number((await client.next()).id) == 0
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await events.metric(READS) == before:
                    pass
            writer.execute("commit")
            assert (await client.next("change")).data["id"] == str(request)


async def test_what_a_writer_in_flight_commits_rings_for_whoever_came_meanwhile(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    async with events.stream(ann) as first, AsyncExitStack() as later:
        await first.next()
        with rows.database.connect() as writer:
            writer.execute("begin")
            request = insert_as(writer, ann)
            second = await later.enter_async_context(events.stream(ann))
            assert number((await second.next()).id) == 0  # somebody watched already, so nothing to wait for
            writer.execute("commit")
        for client in (first, second):
            assert (await client.next("change")).data["id"] == str(request)


async def first_number(events: Service, person: Person) -> int:
    async with events.stream(person) as client:
        return number((await client.next()).id)


def number(event_id: str | None) -> int:
    return int((event_id or "").partition(".")[2])
