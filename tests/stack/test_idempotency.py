"""Keys that make a replay safe, over the whole stack."""

import asyncio

import pytest

from tests.fix_stack import Stack
from tests.stack.client import story

pytestmark = pytest.mark.stack


async def test_a_replayed_key_answers_with_the_same_row_even_after_it_is_done(stack: Stack) -> None:
    headers = {"Idempotency-Key": "one", "Prefer": "return=representation"}
    body = {"task": "summarize", "text": story(5)}
    async with stack.sign_up() as ada:
        first = await ada.rest("POST", "/requests", json=body, headers=headers)
        done = await ada.until(first.json[0]["id"], "done")
        again = await ada.rest("POST", "/requests", json=body, headers=headers)
        rows = (await ada.rest("GET", "/requests")).json
    assert (first.status, again.status) == (202, 200)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json[0]["result"] == done["result"]
    assert len(rows) == 1


async def test_a_key_with_another_body_is_refused_and_makes_nothing(stack: Stack) -> None:
    headers = {"Idempotency-Key": "one"}
    async with stack.sign_up() as ada:
        await ada.insert(story(5), headers=headers)
        body = {"task": "summarize", "text": story(6)}
        conflict = await ada.rest("POST", "/requests", json=body, headers=headers)
        rows = (await ada.rest("GET", "/requests")).json
    assert (conflict.status, conflict.code) == (422, "idempotency_key_reused")
    assert len(rows) == 1


async def test_of_many_posts_with_one_key_at_once_one_makes_the_row(stack: Stack) -> None:
    headers = {"Idempotency-Key": "storm"}
    body = {"task": "summarize", "text": story(5)}
    async with stack.sign_up() as ada:
        answers = await asyncio.gather(
            *(ada.rest("POST", "/requests", json=body, headers=headers) for _ in range(24))
        )
        await ada.until(answers[0].headers["Location"].removeprefix("/requests?id=eq."), "done")
    assert sorted(answer.status for answer in answers) == [200] * 23 + [202]
    assert len({answer.headers["Location"] for answer in answers}) == 1


async def test_two_people_may_use_the_same_key(stack: Stack) -> None:
    headers = {"Idempotency-Key": "one"}
    async with stack.sign_up() as ada, stack.sign_up() as bob:
        hers = await ada.insert(story(5), headers=headers)
        his = await bob.insert(story(5), headers=headers)
    assert hers["id"] != his["id"]
