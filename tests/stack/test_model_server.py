"""A model server that misbehaves in every way seen in the field: passing faults are tried again, lasting ones
end the request with a code and a sentence, and a half answer is never taken for a whole one."""

from typing import Any

import pytest

from tests.fix_stack import Stack
from tests.stack.client import story

pytestmark = pytest.mark.stack

# A fault that happens once: what the engine's switch is told.
ONCE: dict[str, dict[str, Any]] = {
    "answers 503": {"fault": "error_503"},
    "answers 500": {"fault": "error_500"},
    "hangs before its first word": {"fault": "delay_headers", "seconds": 30},
    "hangs in the middle": {"fault": "slow_drip", "seconds": 30},
    "reports an error in the middle": {"fault": "mid_stream_error"},
    "drops the stream": {"fault": "drop"},
    "ends the stream without saying that it is done": {"fault": "no_done"},
}


@pytest.mark.parametrize("fault", ONCE.values(), ids=ONCE.keys())
async def test_a_request_is_done_at_its_second_try_if_the_model_server_once(
    stack: Stack, fault: dict[str, Any]
) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        with stack.faults({"match": {}, "times": 1, **fault}):
            request = (await ada.insert(story(20), target_words=80))["id"]
            row = await events.state(request, "done", "failed", within=30)
    assert row["state"] == "done", row
    assert stack.query("select epoch from private.job where request_id = %s", request) == [(2,)]
    assert stack.query("select epoch from private.result where request_id = %s", request) == [(2,)]
    assert row["result"].strip()[-1] in ".!?"
