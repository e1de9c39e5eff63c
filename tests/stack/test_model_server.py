"""A model server that misbehaves in every way seen in the field: passing faults are tried again, lasting ones
end the request with a code and a sentence, and a half answer is never taken for a whole one."""

from typing import Any

import pytest

from tests.fix_stack import Stack
from tests.stack.client import story

pytestmark = pytest.mark.stack

# A fault that happens once: as the engine is told it.
ONCE: dict[str, dict[str, Any]] = {
    "answers 503": {"fault": "error_503"},
    "answers 500": {"fault": "error_500"},
    "hangs before its first word": {"fault": "delay_headers", "seconds": 30},
    "hangs in the middle": {"fault": "slow_drip", "seconds": 30},
    "reports an error in the middle": {"fault": "mid_stream_error"},
    "drops the stream": {"fault": "drop"},
    "ends the stream without saying that it is done": {"fault": "no_done"},
}


ACCEPTED = """
select j.epoch >= 2, r.epoch = j.epoch from private.job j join private.result r on r.request_id = j.request_id
 where j.request_id = %s
"""


@pytest.mark.parametrize("fault", ONCE.values(), ids=ONCE.keys())
async def test_a_request_is_done_at_its_second_try_if_the_model_server_once(
    stack: Stack, fault: dict[str, Any]
) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        with stack.faults({"times": 1, **fault}):
            request = (await ada.insert(story(20), target_words=80))["id"]
            row = await events.state(request, "done", "failed", within=30)
    assert row["state"] == "done", row
    assert stack.query(ACCEPTED, request) == [(True, True)]
    assert row["result"].strip()[-1] in ".!?"


# A fault that stays -> the code that the request ends with.
LASTING: dict[str, tuple[dict[str, Any], str]] = {
    "no longer has the model": ({"fault": "error_404"}, "model_not_found"),
    "says that the text is too long": ({"fault": "error_400_nested"}, "input_too_long"),
}


@pytest.mark.parametrize(("fault", "code"), LASTING.values(), ids=LASTING.keys())
async def test_a_request_ends_at_once_with_a_reason_if_the_model_server(
    stack: Stack, fault: dict[str, Any], code: str
) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        with stack.faults(fault):
            request = (await ada.insert(story(20)))["id"]
            row = await events.state(request, "done", "failed")
    assert (row["state"], row["error_code"], row["result"]) == ("failed", code, None)
    assert len(row["error_message"]) > 20


async def test_a_model_that_repeats_itself_is_stopped_and_asked_again(stack: Stack) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        closed = stack.cancelled_calls()
        with stack.faults({"times": 1, "fault": "repeat_loop"}):
            request = (await ada.insert(story(20), target_words=80))["id"]
            row = await events.state(request, "done", "failed")
    assert row["state"] == "done", row
    assert row["checks"]["repetition"]["ok"] is True
    assert stack.cancelled_calls() == closed + 1
    assert stack.query(ACCEPTED, request) == [(True, True)]


async def test_a_request_waits_for_a_model_server_that_refuses_connections(breakable_stack: Stack) -> None:
    stack = breakable_stack
    async with stack.sign_up() as ada, ada.watch() as events:
        stack.engine.kill()
        request = (await ada.insert(story(20)))["id"]
        stack.until(REFUSED_ONCE, request)
        stack.engine.start()
        row = await events.state(request, "done", "failed", within=40)
    assert row["state"] == "done", row


REFUSED_ONCE = "select 1 from private.job where request_id = %s and epoch > 0 and state = 'ready'"


async def test_a_model_server_that_dies_in_the_middle_costs_nothing_but_time(breakable_stack: Stack) -> None:
    stack = breakable_stack
    async with stack.sign_up() as ada, ada.watch() as events:
        with stack.faults({"fault": "slow_drip", "seconds": 0.3}):
            request = (await ada.insert(story(40), target_words=200))["id"]
            await events.until(lambda event: event.kind == "partial")
            stack.engine.kill()
            stack.engine.start()
        row = await events.state(request, "done", "failed", within=40)
    assert row["state"] == "done", row
    assert stack.query("select count(*) from private.result where request_id = %s", request) == [(1,)]
