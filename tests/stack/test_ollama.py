"""The life of a request against a real Ollama that serves a tiny generated model."""

from collections.abc import Iterator

import pytest

from tests.fix_ollama import MODEL, SENTENCE, Ollama
from tests.fix_postgres import Cluster
from tests.fix_stack import PARTS, Stack, running_stack
from tests.stack.client import story

pytestmark = [pytest.mark.stack, pytest.mark.ollama]


PATIENT = {"first_token_seconds": 60, "idle_seconds": 60}  # its threads spin: two busy cores are few


@pytest.fixture(scope="module")
def ollama_stack(cluster: Cluster, ollama: Ollama) -> Iterator[Stack]:
    """A stack without the built-in engine."""
    database = cluster.create_database("ollama", template="template_precis")
    parts = tuple(name for name in PARTS if name != "engine")
    with running_stack(database, parts=parts, work=PATIENT | {"hosts": [ollama.url]}) as running:
        yield running


async def test_a_request_lives_from_queued_to_done_with_a_real_ollama(ollama_stack: Stack) -> None:
    async with ollama_stack.sign_up() as ada, ada.watch() as events:
        with ollama_stack.work.paused():
            request = (await ada.insert(story(6), target_words=25))["id"]
            await events.state(request, "queued")
        row = await events.state(request, "done", "failed", within=60)
    assert (row["state"], row["result"]) == ("done", SENTENCE)
    assert (row["engine"]["engine"], row["engine"]["model"]) == ("ollama", MODEL)
    assert row["engine"]["output_tokens"] > len(SENTENCE.split())
    assert row["checks"]["length"]["ok"] is True


async def test_its_model_is_the_default_and_can_be_named_with_and_without_its_tag(
    ollama_stack: Stack,
) -> None:
    async with ollama_stack.sign_up() as ada:
        models = (await ada.rest("GET", "/models")).json
        row = await ada.insert(story(5), model=MODEL.partition(":")[0])
    assert [(model["name"], model["engine"], model["is_default"]) for model in models] == [
        (MODEL, "ollama", True)
    ]
    assert row["model"] == MODEL


async def test_a_text_that_does_not_fit_ends_at_once_without_a_call(ollama_stack: Stack) -> None:
    async with ollama_stack.sign_up() as ada, ada.watch() as events:
        before = calls(ollama_stack, "input_too_long")
        request = (await ada.insert(story(400)))["id"]
        row = await events.state(request, "done", "failed")
    assert (row["state"], row["error_code"]) == ("failed", "input_too_long")
    assert calls(ollama_stack, "input_too_long") == before


async def test_a_text_that_ollama_cuts_without_a_word_is_not_summarised(ollama_stack: Stack) -> None:
    """This model takes a token for each letter, four times what one would guess before it has counted."""
    ollama_stack.work.restart()
    async with ollama_stack.sign_up() as ada, ada.watch() as events:
        request = (await ada.insert(story(120)))["id"]
        row = await events.state(request, "done", "failed", within=60)
    assert (row["state"], row["error_code"], row["result"]) == ("failed", "input_too_long", None)
    assert calls(ollama_stack, "input_too_long") == 1


def calls(stack: Stack, outcome: str) -> float:
    return stack.metric("listener work", "precis_model_calls_total", model=MODEL, outcome=outcome)
