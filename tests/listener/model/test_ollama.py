"""The adapter against a real Ollama that serves tiny models of our own making."""

import asyncio
import time

import pytest

from listener.errors import PermanentError, TransientError
from listener.model.chat import Answer, Model, Patience
from listener.model.hosts import HostOptions, Hosts
from listener.model.server import Server
from tests.fix_ollama import CONTEXT_TOKENS, MODEL, SENTENCE, Ollama
from tests.fix_work import Desk

pytestmark = [pytest.mark.ollama, pytest.mark.services]

PATIENCE = Patience(first_token_seconds=120.0, idle_seconds=30.0)


async def ask(
    ollama: Ollama, text: str = "Hello.", *, name: str = MODEL, most: int = 100, think: bool = False
) -> Answer:
    capabilities = ("completion", "thinking") if think else ("completion",)
    async with Server(ollama.url) as server:
        model = Model(server, name, "sha", "ollama", CONTEXT_TOKENS, capabilities, PATIENCE, "5m")
        messages = [{"role": "user", "content": text}]
        return await model.chat(messages, answer_tokens=most, hear=lambda _text: None)


async def test_an_answer_is_streamed_whole_and_counted(ollama: Ollama) -> None:
    answer = await ask(ollama)
    assert answer.text.strip() == SENTENCE
    assert (answer.cut, answer.output_tokens) == (False, 28)
    assert answer.prompt_tokens > 5


async def test_an_answer_that_reaches_its_limit_says_so(ollama: Ollama) -> None:
    answer = await ask(ollama, most=5)
    assert answer.cut
    assert SENTENCE.startswith(answer.text.strip())


async def test_a_prompt_that_this_version_cuts_without_a_word_is_refused(ollama: Ollama) -> None:
    with pytest.raises(PermanentError) as refused:
        await ask(ollama, "x " * 10_000)
    assert refused.value.code == "input_too_long"


async def test_a_stream_that_ollama_breaks_off_because_it_loops_is_no_answer(ollama: Ollama) -> None:
    ollama.create("endless", words=("on", "and"), then="repeat")
    with pytest.raises(TransientError) as broken:
        await ask(ollama, name="endless")
    assert broken.value.code == "answer_incomplete"


async def test_an_unknown_model_and_an_unknown_ability_are_permanent(ollama: Ollama) -> None:
    with pytest.raises(PermanentError) as unknown:
        await ask(ollama, name="nobody")
    assert unknown.value.code == "model_not_found"


async def test_cancelling_frees_the_server_for_the_next_call(ollama: Ollama) -> None:
    ollama.create("rambling", words=("on", "and"), then="restart")
    began = asyncio.Event()
    async with Server(ollama.url) as server:
        model = Model(server, "rambling", "sha", "ollama", CONTEXT_TOKENS, ("completion",), PATIENCE, "5m")
        messages = [{"role": "user", "content": "Hello."}]
        call = asyncio.create_task(model.chat(messages, answer_tokens=8000, hear=lambda _text: began.set()))
        await began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    # Its runner serves one call at a time: this one would wait for all eight thousand words.
    at = time.monotonic()
    assert (await ask(ollama, name="rambling", most=3)).cut
    assert time.monotonic() - at < 8


async def test_its_models_are_listed_with_their_context(ollama: Ollama, desk: Desk) -> None:
    listed = asyncio.Event()
    async with desk.statements() as pool:
        wishes = HostOptions(1, "", 4096, "5m", PATIENCE)
        worker = await desk.worker()
        hosts = Hosts(pool, wishes, claimant=lambda: worker.claimant, changed=listed.set)
        watching = asyncio.create_task(hosts.watch(ollama.url))
        await asyncio.wait_for(listed.wait(), 20)
        watching.cancel()
    rows = desk.query(
        "select name, engine, context_tokens, available from public.models where name = %s", MODEL
    )
    assert rows == [(MODEL, "ollama", 4096, True)]
