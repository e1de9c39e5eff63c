"""The worker killed, stopped, frozen in the middle of a request: nothing is lost, one result is accepted."""

import time

import pytest

from tests.fix_stack import Stack
from tests.stack.client import Client, story

pytestmark = pytest.mark.stack

SLOWLY = {"match": {}, "fault": "slow_drip", "seconds": 0.3}
RESCUE_SECONDS = 16.0


async def running(stack: Stack, client: Client) -> str:
    """A request in the middle of its model call."""
    request = str((await client.insert(story(40), target_words=300))["id"])
    stack.until("select 1 from private.partial where request_id = %s", request)
    return request


def attempts(stack: Stack, request: str) -> int:
    return int(stack.query("select attempts from private.job where request_id = %s", request)[0][0])


async def test_a_killed_workers_request_runs_again_within_sixteen_seconds(own_stack: Stack) -> None:
    async with own_stack.sign_up() as ada, ada.watch() as events:
        with own_stack.faults(SLOWLY):
            request = await running(own_stack, ada)
            own_stack.work.kill()
            killed_at = time.monotonic()
            own_stack.work.start()
            own_stack.until("select 1 from private.job where request_id = %s and epoch >= 2", request)
            waited = time.monotonic() - killed_at
        done = await events.state(request, "done")
    assert waited < RESCUE_SECONDS
    assert own_stack.query("select epoch from private.result where request_id = %s", request) == [(2,)]
    assert done["result"]


async def test_what_a_new_attempt_writes_replaces_the_text_so_far(own_stack: Stack) -> None:
    async with own_stack.sign_up() as ada, ada.watch() as events:
        with own_stack.faults(SLOWLY):
            request = await running(own_stack, ada)
            own_stack.work.kill()
            own_stack.work.start()
            first = await events.until(
                lambda event: event.kind == "partial" and event.is_about(request) and event.data["epoch"] == 2
            )
        done = await events.state(request, "done")
    assert first.data["from"] == 0
    assert done["result"].startswith(first.data["text"])


async def test_a_stopped_worker_hands_its_request_back_without_charging_an_attempt(own_stack: Stack) -> None:
    async with own_stack.sign_up() as ada, ada.watch() as events:
        with own_stack.faults(SLOWLY):
            request = await running(own_stack, ada)
            code = own_stack.work.stop()
            row = await ada.row(request)
            charged = attempts(own_stack, request)
        own_stack.work.start()
        done = await events.state(request, "done")
    assert row is not None
    assert (code, row["state"], charged) == (0, "queued", 0)
    assert done["result"]


async def test_a_request_that_kills_its_worker_each_time_ends_failed(own_stack: Stack) -> None:
    async with own_stack.sign_up() as ada, ada.watch() as events:
        with own_stack.faults(SLOWLY):
            request = await running(own_stack, ada)
            own_stack.query("update private.job set attempts = 5 where request_id = %s", request)
            own_stack.work.kill()
            own_stack.work.start()
            row = await events.state(request, "failed")
    assert row["error_code"] == "worker_lost"
    assert row["error_message"]


async def test_a_worker_that_wakes_after_its_lease_changes_nothing(own_stack: Stack) -> None:
    async with own_stack.sign_up() as ada, ada.watch() as events:
        with own_stack.faults(SLOWLY):
            request = await running(own_stack, ada)
            with own_stack.work.paused(), own_stack.second_worker():
                done = await events.state(request, "done", within=40)
                first_result = own_stack.query("select epoch, body from private.result")
            own_stack.work.wait_ready()
            other = await ada.insert(story(5))
        await events.state(other["id"], "done")
        assert await ada.row(request) == done | {"text": (await ada.row(request) or {})["text"]}
    assert (
        own_stack.query("select epoch, body from private.result where request_id = %s", request)
        == first_result
    )
