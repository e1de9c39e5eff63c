"""Two people on one stack, and somebody who has not signed in: each sees what is theirs and nothing else."""

import asyncio

import pytest

from tests.fix_stack import Stack
from tests.stack.client import Client, EventStream, story

pytestmark = pytest.mark.stack

SLOWLY = {"fault": "slow_drip", "seconds": 0.2}


async def live(client: Client, events: EventStream, title: str) -> str:
    """A request from insert to done, watched."""
    request = str((await client.insert(story(40, title), target_words=100, title=title))["id"])
    await events.state(request, "done")
    return request


async def test_two_people_never_see_each_others_rows_partials_or_events(stack: Stack) -> None:
    async with stack.sign_up() as ada, stack.sign_up() as bob, ada.watch() as hers, bob.watch() as his:
        with stack.faults(SLOWLY):
            first, second = await asyncio.gather(live(ada, hers, "adas"), live(bob, his, "bobs"))
        rows = (await ada.rest("GET", "/requests")).json, (await bob.rest("GET", "/requests")).json
    assert [[row["id"] for row in of_one] for of_one in rows] == [[first], [second]]
    for events, own in ((hers, first), (his, second)):
        told = [event for event in events.seen if event.kind]
        assert {event.data["id"] for event in told} == {own}
        assert {event.kind for event in told} == {"change", "partial"}


async def test_anothers_request_can_be_neither_read_watched_changed_nor_stopped(stack: Stack) -> None:
    async with stack.sign_up() as ada, stack.sign_up() as bob:
        with stack.work.paused():
            request = (await ada.insert(story(5)))["id"]
            read = await bob.rest("GET", f"/requests?id=eq.{request}")
            partial = await bob.rest("GET", f"/partials?request_id=eq.{request}")
            patched = await bob.rest("PATCH", f"/requests?id=eq.{request}", json={"title": "mine"})
            deleted = await bob.rest("DELETE", f"/requests?id=eq.{request}")
            cancelled = await bob.cancel(request)
            retried = await bob.rest("POST", "/rpc/retry", json={"id": request})
        row = await ada.until(request, "done")
    assert (read.json, partial.json) == ([], [])
    assert (patched.status, deleted.status) == (204, 204)
    assert (cancelled.status, cancelled.code) == (404, "request_not_found")
    assert (retried.status, retried.code) == (404, "request_not_found")
    assert row["title"] is None


async def test_who_has_not_signed_in_reads_models_and_nothing_else(stack: Stack) -> None:
    async with stack.visit() as anybody:
        seen = [await anybody.rest("GET", path) for path in ("/requests", "/partials")]
        inserted = await anybody.rest("POST", "/requests", json={"task": "summarize", "text": "Hello."})
        cancelled = await anybody.cancel("00000000-0000-4000-8000-000000000000")
        stream = await anybody.call("GET", f"{anybody.events_url}/events")
        models = await anybody.rest("GET", "/models")
    assert {answer.status for answer in (*seen, inserted, cancelled, stream)} == {401}
    assert models.status == 200
