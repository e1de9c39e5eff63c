"""The worker killed, stopped, frozen in the middle of a request: nothing is lost, one result is accepted."""

import time

import pytest

from tests.fix_stack import Stack
from tests.stack.client import Client, story

pytestmark = pytest.mark.stack

SLOWLY = {"fault": "slow_drip", "seconds": 0.3}
VERY_SLOWLY = SLOWLY | {"seconds": 1.5}
RESCUE_SECONDS = 16.0


async def running(stack: Stack, client: Client) -> str:
    """A request in the middle of its model call."""
    request = str((await client.insert(story(40), target_words=300))["id"])
    stack.until("select 1 from private.partial where request_id = %s", request)
    return request


def attempts(stack: Stack, request: str) -> int:
    return int(stack.query("select attempts from private.job where request_id = %s", request)[0][0])


async def test_a_killed_workers_request_runs_again_within_sixteen_seconds(breakable_stack: Stack) -> None:
    stack = breakable_stack
    async with stack.sign_up() as ada, ada.watch() as events:
        with stack.faults(VERY_SLOWLY):
            request = await running(stack, ada)
            with stack.second_worker():
                stack.work.kill()
                killed_at = time.monotonic()
                with stack.faults(SLOWLY):
                    again = await events.until(
                        lambda event: event.kind == "partial" and event.data["epoch"] == 2
                    )
                    done = await events.state(request, "done")
    assert again.at - killed_at < RESCUE_SECONDS
    assert again.data["from"] == 0
    assert done["result"].startswith(again.data["text"])
    assert stack.query("select epoch from private.result where request_id = %s", request) == [(2,)]


async def test_a_stopped_worker_hands_its_request_back_without_charging_an_attempt(
    breakable_stack: Stack,
) -> None:
    async with breakable_stack.sign_up() as ada, ada.watch() as events:
        with breakable_stack.faults(SLOWLY):
            request = await running(breakable_stack, ada)
            code = breakable_stack.work.stop()
            row = await ada.row(request)
            charged = attempts(breakable_stack, request)
        breakable_stack.work.start()
        done = await events.state(request, "done")
    assert row is not None
    assert (code, row["state"], charged) == (0, "queued", 0)
    assert done["result"]


async def test_a_request_that_kills_its_worker_each_time_ends_failed(breakable_stack: Stack) -> None:
    async with breakable_stack.sign_up() as ada, ada.watch() as events:
        with breakable_stack.faults(SLOWLY):
            request = await running(breakable_stack, ada)
            breakable_stack.query("update private.job set attempts = 5 where request_id = %s", request)
            breakable_stack.work.kill()
            breakable_stack.work.start()
            row = await events.state(request, "failed")
    assert row["error_code"] == "worker_lost"
    assert row["error_message"]


async def test_a_worker_that_wakes_after_its_lease_changes_nothing(breakable_stack: Stack) -> None:
    async with breakable_stack.sign_up() as ada, ada.watch() as events:
        with breakable_stack.faults(VERY_SLOWLY):
            request = await running(breakable_stack, ada)
            with (
                breakable_stack.work.paused(),
                breakable_stack.second_worker(),
                breakable_stack.faults(SLOWLY),
            ):
                done = await events.state(request, "done", within=40)
                first_result = breakable_stack.query(
                    "select epoch, body from private.result where request_id = %s", request
                )
            breakable_stack.work.wait_ready()
            other = await ada.insert(story(5))
        await events.state(other["id"], "done")
        assert await ada.row(request) == done | {"text": (await ada.row(request) or {})["text"]}
    assert (
        breakable_stack.query("select epoch, body from private.result where request_id = %s", request)
        == first_result
    )
