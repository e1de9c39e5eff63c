"""precis.client.follower: a request watched to its end, over a real HTTP server that plays the service's
part."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from precis.client.api import Account, Addresses, Client
from precis.client.follower import Changed, Follower

from chassis.http import application, serve

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ID = "7a9c0f54-5f5b-4a7b-9a55-3d1ab8f7c001"


def event(name: str, data: object) -> bytes:
    return f"event: {name}\nid: 1.2\ndata: {json.dumps(data)}\n\n".encode()


def change(state: str) -> bytes:
    return event("change", {"id": ID, "kind": "request", "row": row(state)})


def row(state: str, second: int = 1) -> dict[str, Any]:
    return {"id": ID, "state": state, "updated_at": f"2026-01-01T00:00:0{second}+00:00"}


def partial(start: int, text: str, epoch: int = 1) -> bytes:
    return event("partial", {"id": ID, "epoch": epoch, "from": start, "text": text})


async def login(_: web.Request) -> web.Response:
    return web.json_response({"access_token": "t", "token_type": "bearer", "expires_in": 600})


def streams(*chunks: bytes) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer t"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return handle


async def no_stream(_: web.Request) -> web.Response:
    return web.json_response({"code": "unavailable"}, status=503)


def answers(*states: str) -> Handler:
    """The row's state at each look; the last one stays."""
    left = list(states)

    async def handle(_: web.Request) -> web.Response:
        return web.json_response([row(left.pop(0) if len(left) > 1 else left[0])])

    return handle


async def partials(_: web.Request) -> web.Response:
    return web.json_response([{"request_id": ID, "epoch": 1, "text": "So far"}])


@asynccontextmanager
async def follower(events: Handler, requests: Handler) -> AsyncIterator[Follower]:
    app = application(name="pretended", max_body_bytes=1024)
    app.add_routes(
        [
            web.post("/auth/login", login),
            web.get("/events", events),
            web.get("/requests", requests),
            web.get("/partials", partials),
        ]
    )
    async with serve(app, "127.0.0.1:0", name="pretended") as url, aiohttp.ClientSession() as session:
        yield Follower(Client(session, Addresses(url, url, url), Account("demo@example.com", "x")))


async def seen(events: Handler, requests: Handler) -> list[str]:
    async with follower(events, requests) as following, asyncio.timeout(10):
        await following.open()
        try:
            updates = [update async for update in following.updates({ID})]
        finally:
            following.close()
    return [u.row["state"] if isinstance(u, Changed) else f'"{u.text}"' for u in updates]


async def test_changes_and_text_come_in_the_streams_order() -> None:
    chunks = (change("running"), partial(0, "One "),
              partial(4, "two"), change("done"))  # fmt: skip
    assert await seen(streams(*chunks), answers("queued")) == [
        "queued",
        "running",
        '"One "',
        '"One two"',
        "done",
    ]


async def test_other_requests_heartbeats_and_the_cursor_are_passed_over() -> None:
    other = event("change", {"id": "another", "kind": "request", "row": row("failed")})
    chunks = (b"retry: 2000\nid: 1.1\ndata:\n\n", b":hb\n\n", other,
              change("done"))  # fmt: skip
    assert await seen(streams(*chunks), answers("running")) == ["running", "done"]


async def test_a_new_attempt_starts_its_text_anew_and_a_repeated_piece_adds_nothing() -> None:
    pieces = (partial(0, "Old text"), partial(0, "New", 2), partial(0, "New", 2), partial(3, "er", 2))
    joined_late = partial(3, "later", 3)
    expected = ["running", '"Old text"', '"New"', '"New"', '"Newer"', '"later"', "done"]
    assert await seen(streams(*pieces, joined_late, change("done")), answers("running")) == expected


async def test_an_event_that_was_overtaken_by_an_answer_is_not_told() -> None:
    stale = event("change", {"id": ID, "kind": "request", "row": row("queued", 0)})
    assert await seen(streams(stale, change("done")), answers("running")) == ["running", "done"]


async def test_without_a_stream_the_row_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precis.client.follower.POLL_SECONDS", 0.01)
    assert await seen(no_stream, answers("queued", "running", "done")) == [
        "queued", '"So far"', "running", '"So far"', "done",
    ]  # fmt: skip


async def test_what_a_broken_stream_did_not_tell_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precis.client.follower.POLL_SECONDS", 0.01)
    assert await seen(streams(partial(0, "One")), answers("running", "done")) == ["running", '"One"', "done"]


async def test_a_row_too_large_for_an_event_is_fetched() -> None:
    chunks = (event("change", {"id": ID, "kind": "request", "row": None}),)
    assert await seen(streams(*chunks), answers("running", "done")) == ["running", "done"]


async def test_a_row_that_came_without_its_long_result_is_fetched() -> None:
    cut = {"id": ID, "kind": "request", "row": {**row("done"), "result": None}, "truncated": True}
    rows = [row("running"), {**row("done", 2), "result": "long"}]

    async def requests(_: web.Request) -> web.Response:
        return web.json_response([rows.pop(0)])

    async with follower(streams(event("change", cut)), requests) as following, asyncio.timeout(10):
        await following.open()
        last = [update async for update in following.updates({ID})][-1]
    assert isinstance(last, Changed)
    assert last.row["result"] == "long"


async def test_a_request_that_was_deleted_ends_the_watch() -> None:
    assert await seen(streams(event("tombstone", {"id": ID, "kind": "request"})), answers("running")) == [
        "running"
    ]
