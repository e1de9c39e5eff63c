"""The engine over HTTP: what a client of Ollama sends and gets."""

import asyncio
import io
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import ollama
import pytest
from aiohttp import web

from chassis.http import application, serve
from listener.engine.server import ClientGone, while_connected
from listener.offload.pool import Pool
from listener.offload.process import Budget
from tests.listener.engine.conftest import (
    AMPLE,
    DOCUMENT,
    Speaker,
    cancelled,
    count,
    prompt,
    speaking,
    text_of,
)
from tests.listener.offload.costly import spin, who
from tests.listener.tasks.script import sentences

Handler = Callable[[web.Request], Awaitable[web.Response]]


async def test_an_answer_is_streamed_record_by_record(engine: Speaker) -> None:
    status, records = await engine.chat()
    assert status == 200
    assert [record["done"] for record in records] == [False] * (len(records) - 1) + [True]
    assert len(records) >= 3
    assert text_of(records).startswith("The bridge over the river will close in March.")
    last = records[-1]
    assert (last["done_reason"], last["message"]["content"]) == ("stop", "")
    assert last["prompt_eval_count"] > 50 > last["eval_count"] > 10
    assert last["total_duration"] > 0


async def test_the_stream_is_ndjson(engine: Speaker) -> None:
    async with engine.post(
        "/api/chat", {"model": "extractive", "messages": [{"role": "user", "content": "Hi."}]}
    ) as answer:
        assert answer.content_type == "application/x-ndjson"


async def test_without_stream_there_is_one_record_with_the_whole_text(engine: Speaker) -> None:
    _, streamed = await engine.chat()
    _, (whole,) = await engine.chat(stream=False)
    assert whole["message"]["content"] == text_of(streamed)
    assert whole["done"] is True


async def test_generate_answers_in_its_own_shape(engine: Speaker) -> None:
    async with engine.post(
        "/api/generate", {"model": "extractive", "prompt": prompt(), "stream": False}
    ) as answer:
        assert (await answer.json())["response"].startswith("The bridge")


async def test_an_empty_prompt_loads_and_keep_alive_zero_unloads(engine: Speaker) -> None:
    _, (loaded,) = await engine.chat(messages=[])
    assert (loaded["done_reason"], loaded["done"]) == ("load", True)
    assert [model["name"] for model in (await engine.get("/api/ps"))["models"]] == ["extractive:latest"]
    _, (unloaded,) = await engine.chat(messages=[], keep_alive=0)
    assert unloaded["done_reason"] == "unload"
    assert await engine.get("/api/ps") == {"models": []}


async def test_num_predict_ends_an_answer_after_a_whole_sentence(engine: Speaker) -> None:
    _, records = await engine.chat(prompt(target_words=60), options={"num_predict": 30})
    assert records[-1]["done_reason"] == "length"
    assert text_of(records).endswith(".")
    assert len(text_of(records)) < len(DOCUMENT) / 2


async def test_a_format_schema_is_kept(engine: Speaker) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "key_points": {"type": "array"}}}
    _, records = await engine.chat(format=schema)
    assert set(json.loads(text_of(records))) == {"title", "key_points"}


async def test_who_it_is_can_be_asked(engine: Speaker) -> None:
    assert await engine.get("/api/version") == {"version": "0.0.0-extractive"}
    assert [model["name"] for model in (await engine.get("/api/tags"))["models"]] == ["extractive:latest"]
    async with engine.post("/api/show", {"model": "extractive"}) as answer:
        assert (await answer.json())["capabilities"] == ["completion"]
    async with engine.session.head(engine.url + "/") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/chat", {"model": "x", "messages": []}, 404, "model 'x' not found"),
        ("/api/show", {"model": "x"}, 404, "model 'x' not found"),
        ("/api/embed", {"model": "extractive"}, 404, "not found"),
        ("/api/version", {}, 405, "method not allowed"),
        (
            "/api/chat",
            {"model": "extractive", "messages": [{"role": "user", "content": "x"}], "format": "xml"},
            400,
            "format",
        ),
        (
            "/api/chat",
            {"model": "extractive", "messages": [{"role": "user", "content": prompt(task="sing")}]},
            400,
            "task 'sing' is none of summarize, shorten",
        ),
    ],
)
async def test_errors_have_ollamas_shape(
    engine: Speaker, path: str, body: Any, status: int, words: str
) -> None:
    got, message = await engine.refusal(path, body)
    assert got == status
    assert words in message


async def test_no_body_is_called_missing(engine: Speaker) -> None:
    async with engine.session.post(engine.url + "/api/chat") as answer:
        assert (answer.status, await answer.json()) == (400, {"error": "missing request body"})


async def test_a_body_that_is_too_large_is_refused(engine: Speaker) -> None:
    async with engine.session.post(
        engine.url + "/api/chat", data=io.BytesIO(bytes(64 * 1024 * 1024 + 1))
    ) as answer:
        assert answer.status == 413


async def test_the_official_client_gets_its_answer(engine: Speaker) -> None:
    async with ollama.AsyncClient(engine.url, trust_env=False) as client:
        stream = await client.chat(
            "extractive", [{"role": "user", "content": prompt()}], stream=True, options={"num_ctx": 8192}
        )
        parts = [part async for part in stream]
        assert parts[-1].done_reason == "stop"
        assert "".join(part.message.content or "" for part in parts).startswith("The bridge")
        with pytest.raises(ollama.ResponseError, match="model 'x' not found") as refused:
            await client.show("x")
        assert refused.value.status_code == 404


async def test_other_calls_are_answered_while_a_long_text_is_read(engine: Speaker) -> None:
    long = " ".join(
        f"The bridge number {n} closes over river {n % 97} and costs {n} pounds." for n in range(4_000)
    )
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(engine.chat(prompt(long)))
        answered = 0
        while not slow.done():
            async with asyncio.timeout(10):
                await engine.get("/api/version")
            answered += 1
    assert slow.result()[0] == 200
    assert answered > 3


async def test_a_call_whose_client_has_gone_is_broken_off_and_counted(engine: Speaker) -> None:
    long = " ".join(
        f"The bridge number {n} closes over river {n % 97} and costs {n} pounds." for n in range(12_000)
    )
    before = count("cancelled")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await engine.chat(prompt(long))
    await cancelled(engine, before)
    assert count("cancelled") == before + 1


async def test_a_text_that_the_engine_fails_at_is_said_to_be_its_own_fault(
    engine: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("listener.engine.replies.compose", fail)
    status, (said,) = await engine.chat()
    assert (status, said) == (500, {"error": "the engine has failed at this text", "code": "engine_failed"})
    monkeypatch.undo()
    assert (await engine.chat())[0] == 200


async def test_a_long_text_is_answered_as_a_short_one_is(engine: Speaker) -> None:
    status, records = await engine.chat(prompt(sentences(400)))
    assert status == 200
    assert text_of(records).count("before") >= 2
    assert records[-1]["prompt_eval_count"] > 4_000
    status, (whole,) = await engine.chat(prompt(sentences(400)), stream=False)
    assert (status, whole["message"]["content"]) == (200, text_of(records))


async def test_what_is_wrong_with_a_long_call_is_refused_in_the_same_words(engine: Speaker) -> None:
    status, words = await engine.refusal("/api/chat", {"model": "no such", "prompt": "x" * 5_000})
    assert (status, words) == (404, "model 'no such' not found")
    status, (record,) = await engine.chat(prompt(sentences(400), style="loud"))
    assert (status, record["error"][:13]) == (400, "invalid task:")


async def test_a_text_beyond_the_budget_is_refused_with_a_code() -> None:
    async with speaking(Budget(cpu_seconds=0.01, memory_mb=512)) as engine:
        status, (record,) = await engine.chat(prompt(sentences(9_000)))
        assert (status, record["code"]) == (500, "engine_failed")
        assert (await engine.chat())[0] == 200


async def _ask_and_leave(handler: Handler, working: asyncio.Event) -> None:
    """Serve `handler`, ask it once, and leave when `working` is set."""
    app = application(name="test", max_body_bytes=10)
    app.add_routes([web.get("/", handler)])
    async with serve(app, "127.0.0.1:0", name="test") as url, aiohttp.ClientSession() as session:
        asked = asyncio.ensure_future(session.get(url))
        async with asyncio.timeout(20):
            await working.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked


async def _leave(pool: Pool) -> str:
    """How the handler ends whose client leaves while the pool has its work to do."""
    working = asyncio.Event()
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handler(request: web.Request) -> web.Response:
        working.set()
        try:
            await while_connected(request, pool.run("client", spin, ""))
        except ClientGone:
            ended.set_result("gone")
        return web.Response()

    await _ask_and_leave(handler, working)
    async with asyncio.timeout(20):
        return await ended


async def test_work_ends_with_its_process_when_the_client_has_gone() -> None:
    async with Pool(AMPLE, processes=1) as pool:
        pid = await pool.run("before", who, "")
        assert await _leave(pool) == "gone"
        assert not Path(f"/proc/{pid}").exists()
        assert await pool.run("after", who, "") != pid


async def test_work_that_still_waits_for_a_process_never_begins() -> None:
    async with Pool(AMPLE, processes=1) as pool:
        pid = await pool.run("before", who, "")
        os.kill(pid, signal.SIGSTOP)
        held = asyncio.ensure_future(pool.run("other", who, ""))
        await asyncio.sleep(0)
        assert await _leave(pool) == "gone"
        os.kill(pid, signal.SIGCONT)
        assert await held == pid  # it was not asked for anything else
