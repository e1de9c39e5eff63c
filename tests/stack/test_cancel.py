"""Stopping a request, queued or running: the row ends at once and the model call is closed."""

import asyncio

import pytest

from tests.fix_stack import Stack
from tests.part import LOOK_AGAIN_SECONDS
from tests.stack.client import story

pytestmark = pytest.mark.stack

CLOSING_SECONDS = 3.0
FOREVER = {"fault": "slow_drip", "seconds": 1.0}


async def call_is_closed(stack: Stack, before: float) -> None:
    async with asyncio.timeout(CLOSING_SECONDS):
        while stack.cancelled_calls() != before + 1:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def test_a_queued_request_is_cancelled_and_never_runs(stack: Stack) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        with stack.work.paused():
            request = (await ada.insert(story(5)))["id"]
            answer = await ada.cancel(request)
        await events.state(request, "cancelled")
        other = (await ada.insert(story(5)))["id"]
        await events.state(other, "done")
        row = await ada.row(request)
    assert (answer.status, answer.json[0]["state"]) == (200, "cancelled")
    assert row is not None
    assert (row["state"], row["result"]) == ("cancelled", None)
    assert stack.query("select epoch from private.job where request_id = %s", request) == [(0,)]


async def test_cancelling_a_running_request_closes_its_model_call(stack: Stack) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        before = stack.cancelled_calls()
        with stack.faults(FOREVER):
            request = (await ada.insert(story(40), target_words=300))["id"]
            await events.until(lambda event: event.kind == "partial" and event.is_about(request))
            answer = await ada.cancel(request)
            await events.state(request, "cancelled")
            await call_is_closed(stack, before)
        again = await ada.cancel(request)
        row = await ada.row(request)
    assert (answer.status, again.status) == (200, 200)
    assert row is not None
    assert (row["state"], row["result"]) == ("cancelled", None)


async def test_deleting_a_running_request_closes_its_model_call_and_leaves_nothing(stack: Stack) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        before = stack.cancelled_calls()
        with stack.faults(FOREVER):
            request = (await ada.insert(story(40), target_words=300))["id"]
            await events.until(lambda event: event.kind == "partial" and event.is_about(request))
            answer = await ada.rest("DELETE", f"/requests?id=eq.{request}")
            await events.until(lambda event: event.kind == "tombstone" and event.is_about(request))
            await call_is_closed(stack, before)
        assert answer.status in (200, 204)
        assert await ada.row(request) is None
    assert stack.query("select 1 from private.partial where request_id = %s", request) == []


async def test_a_cancelled_request_runs_to_its_end_when_it_is_tried_again(stack: Stack) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        with stack.work.paused():
            request = (await ada.insert(story(5)))["id"]
            await ada.cancel(request)
        await ada.rest("POST", "/rpc/retry", json={"id": request})
        row = await events.state(request, "done")
    assert row["result"]
