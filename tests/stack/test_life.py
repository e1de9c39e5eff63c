"""The life of a request, as its owner sees it from the outside."""

import pytest

from tests.fix_stack import Stack
from tests.stack.client import story

pytestmark = pytest.mark.stack

SLOWLY = {"fault": "slow_drip", "seconds": 0.2}


async def test_a_request_is_queued_runs_and_ends_before_its_owners_eyes(stack: Stack) -> None:
    async with stack.sign_up() as ada, ada.watch() as events:
        with stack.faults(SLOWLY):
            with stack.work.paused():
                request = (await ada.insert(story(40), target_words=120))["id"]
                queued = await events.state(request, "queued")
            await events.state(request, "running")
            partial = await events.until(lambda event: event.kind == "partial" and event.is_about(request))
            done = await events.state(request, "done")
    assert queued["result"] is None
    assert partial.data["text"]
    assert partial.data["text"] in done["result"]
    assert {event.id for event in events.seen if event.kind == "partial"} == {None}


async def test_a_finished_request_carries_result_checks_engine_and_times(stack: Stack) -> None:
    async with stack.sign_up() as ada:
        request = (await ada.insert(story(40), target_words=120, title="Ledger"))["id"]
        row = await ada.until(request, "done", "failed")
    assert (row["state"], row["title"], row["progress"]) == ("done", "Ledger", 1)
    assert 60 <= len(row["result"].split()) <= 150
    assert row["checks"]["length"]["ok"] is True
    assert row["engine"]["engine"] == "extractive"
    assert row["created_at"] <= row["updated_at"] <= row["finished_at"]
    assert row["error_code"] is None


async def test_shortening_keeps_what_the_text_says(stack: Stack) -> None:
    async with stack.sign_up() as ada:
        request = (await ada.insert(story(12), task="shorten", target_ratio=0.6))["id"]
        row = await ada.until(request, "done", "failed")
    assert row["state"] == "done", row
    assert len(row["result"]) < len(row["text"])


async def test_who_has_no_stream_reads_the_text_so_far_from_partials(stack: Stack) -> None:
    async with stack.sign_up() as ada:
        with stack.faults(SLOWLY):
            request = (await ada.insert(story(40), target_words=150))["id"]
            await ada.until(request, "running")
            stack.until("select 1 from private.partial where request_id = %s", request)
            so_far = await ada.partial(request)
            row = await ada.until(request, "done")
        assert so_far in row["result"]
        assert await ada.partial(request) == ""


async def test_who_was_away_resumes_after_the_last_event_seen(stack: Stack) -> None:
    async with stack.sign_up() as ada:
        async with ada.watch() as events:
            first = (await ada.insert(story(5)))["id"]
            await events.state(first, "done")
        second = (await ada.insert(story(6)))["id"]
        await ada.until(second, "done")
        async with ada.watch(cursor=events.cursor) as resumed:
            await resumed.state(second, "done")
    assert not any(event.is_about(first) for event in resumed.seen)


async def test_everybody_may_read_the_models_and_the_default_is_the_engines(stack: Stack) -> None:
    async with stack.visit() as anybody:
        models = (await anybody.rest("GET", "/models")).json
    assert [(model["engine"], model["is_default"], model["available"]) for model in models] == [
        ("extractive", True, True)
    ]
