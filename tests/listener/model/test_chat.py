"""The adapter against the real engine and everything it can do wrong, over the wire."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from listener.errors import CapacityError, PermanentError, TransientError, UnreachableError
from listener.model.chat import LEAST_ANSWER_BYTES, Answer, Model, Patience, is_cut, most_answer_bytes
from listener.model.server import Server
from tests.fix_engine import MODEL, ModelServer
from tests.fix_postgres import free_port
from tests.fix_work import TEXT

MESSAGES = [
    {"role": "system", "content": "You are an editor."},
    {
        "role": "user",
        "content": '{"task":"summarize","target_words":40}\n<doc-1>\n' + TEXT + "\n</doc-1>\nSummarise.",
    },
]
PATIENCE = Patience(first_token_seconds=10.0, idle_seconds=10.0)


def model(server: Server, *, patience: Patience = PATIENCE, context_tokens: int = 8192, **more: Any) -> Model:
    shape: dict[str, Any] = {"capabilities": ("completion",), "keep_alive": "5m"} | more
    return Model(server, MODEL, "sha", "extractive", context_tokens, patience=patience, **shape)


async def ask(url: str, **more: Any) -> tuple[Answer, list[str]]:
    heard: list[str] = []
    async with Server(url) as server:
        return await model(server, **more).chat(MESSAGES, answer_tokens=200, hear=heard.append), heard


async def test_an_answer_streams_in_and_is_counted(model_server: ModelServer) -> None:
    answer, heard = await ask(model_server.url)
    assert answer.text == "".join(heard)
    assert len(heard) > 1
    assert not answer.cut
    assert answer.prompt_tokens > 50
    assert 0 < answer.first_token_seconds <= answer.seconds


PASSING = [
    ({"fault": "error_500"}, TransientError, "model_failed"),
    ({"fault": "error_503"}, CapacityError, "model_busy"),
    ({"fault": "error_404"}, PermanentError, "model_not_found"),
    ({"fault": "error_400_nested"}, PermanentError, "input_too_long"),
    ({"fault": "mid_stream_error"}, TransientError, "model_failed"),
    ({"fault": "no_done"}, TransientError, "answer_incomplete"),
    ({"fault": "drop"}, TransientError, "stream_broken"),
]


@pytest.mark.parametrize(("rule", "kind", "code"), PASSING, ids=[row[0]["fault"] for row in PASSING])
async def test_every_way_a_stream_ends_badly_is_classed(
    model_server: ModelServer, rule: dict[str, Any], kind: type, code: str
) -> None:
    with model_server.faults(rule), pytest.raises(kind) as raised:
        await ask(model_server.url)
    assert raised.value.code == code


async def test_silence_before_the_first_token_and_after_it_have_their_own_patience(
    model_server: ModelServer,
) -> None:
    with (
        model_server.faults({"fault": "delay_headers", "seconds": 5}),
        pytest.raises(TransientError) as first,
    ):
        await ask(model_server.url, patience=Patience(0.2, 10))
    with model_server.faults({"fault": "slow_drip", "seconds": 5}), pytest.raises(TransientError) as later:
        await ask(model_server.url, patience=Patience(10, 0.2))
    assert (first.value.code, later.value.code) == ("model_timeout", "model_stalled")


async def test_nobody_at_the_address_is_told_apart() -> None:
    with pytest.raises(UnreachableError):
        await ask(f"http://127.0.0.1:{free_port()}")


async def test_a_prompt_that_was_silently_cut_is_noticed_by_its_count(model_server: ModelServer) -> None:
    long = [MESSAGES[0], {"role": "user", "content": MESSAGES[1]["content"].replace(TEXT, TEXT * 16)}]
    with model_server.faults({"fault": "half_prompt_count"}):
        async with Server(model_server.url) as server:
            with pytest.raises(PermanentError) as raised:
                await model(server, context_tokens=2048).chat(
                    long, answer_tokens=100, hear=lambda _text: None
                )
    assert raised.value.code == "input_too_long"


@pytest.mark.parametrize(
    ("count", "estimate", "cut"),
    [
        (4096, 1000, True),
        (4090, 9000, True),
        (4000, 3000, False),
        (2050, 3500, True),
        (2050, 2200, False),
        (1500, 9000, False),
    ],
)
def test_a_cut_shows_in_a_full_window_or_in_half_of_it(count: int, estimate: int, cut: bool) -> None:
    assert is_cut(count, estimate=estimate, context=4096) is cut


async def test_cancelling_the_task_closes_the_call_at_once(model_server: ModelServer) -> None:
    started = asyncio.Event()
    with model_server.faults({"fault": "slow_drip", "seconds": 30}):
        async with Server(model_server.url) as server:
            chat = model(server).chat(MESSAGES, answer_tokens=200, hear=lambda _text: started.set())
            call = asyncio.create_task(chat)
            await started.wait()
            call.cancel()
            at = time.monotonic()
            with pytest.raises(asyncio.CancelledError):
                await call
    assert time.monotonic() - at < 1


async def test_what_hear_raises_ends_the_call_and_comes_through(model_server: ModelServer) -> None:
    def hear(_text: str) -> None:
        raise TransientError("answer_loops", "Again.")

    async with Server(model_server.url) as server:
        with pytest.raises(TransientError) as raised:
            await model(server).chat(MESSAGES, answer_tokens=200, hear=hear)
    assert raised.value.code == "answer_loops"


async def test_refusals_in_a_row_are_counted_until_an_answer_comes(model_server: ModelServer) -> None:
    async with Server(model_server.url) as server:
        asked = model(server)
        with model_server.faults({"fault": "error_503", "times": 2}):
            for refusals in (1, 2):
                with pytest.raises(CapacityError):
                    await asked.chat(MESSAGES, answer_tokens=200, hear=lambda _text: None)
                assert asked.refusals == refusals
            await asked.chat(MESSAGES, answer_tokens=200, hear=lambda _text: None)
    assert asked.refusals == 0


# A server of our own where the test must see the request, or say what the engine never says.


@asynccontextmanager
async def saying(*records: Mapping[str, Any] | str) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    bodies: list[dict[str, Any]] = []

    async def chat(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json() | {"headers": dict(request.headers)})
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        return web.Response(text="\n".join([*lines, ""]), content_type="application/x-ndjson")

    app = web.Application()
    app.router.add_post("/api/chat", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", bodies
    finally:
        await runner.cleanup()


def record(content: str = "", **more: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": content}, "done": False} | more


LAST = record(done=True, done_reason="stop", prompt_eval_count=100, eval_count=2)


async def test_a_call_asks_for_no_truncation_one_context_and_a_bounded_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "secret")
    async with saying(record("Text."), LAST) as (url, bodies):
        await ask(url, capabilities=("completion", "thinking"))
    (body,) = bodies
    assert (body["truncate"], body["keep_alive"], body["think"], body["stream"]) == (False, "5m", False, True)
    assert body["options"]["num_ctx"] == 8192
    assert body["options"]["num_predict"] == 200
    assert "shift" not in body
    assert "Authorization" not in body["headers"]


async def test_think_is_not_sent_to_a_model_that_does_not_know_it() -> None:
    async with saying(record("Text."), LAST) as (url, bodies):
        await ask(url)
    assert "think" not in bodies[0]


async def test_reasoning_in_its_own_field_is_no_text() -> None:
    thought = {
        "model": "m",
        "message": {"role": "assistant", "content": "", "thinking": "Hm."},
        "done": False,
    }
    async with saying(thought, record("Text."), LAST) as (url, _):
        answer, heard = await ask(url)
    assert (answer.text, heard) == ("Text.", ["Text."])


async def test_a_stop_at_the_limit_is_told() -> None:
    async with saying(record("Text"), LAST | {"done_reason": "length"}) as (url, _):
        assert (await ask(url))[0].cut


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ([LAST | {"done_reason": "load"}], "answer_empty"),
        ([record("  "), LAST], "answer_empty"),
        (["<html>"], "answer_unreadable"),
        ([{"done": True}], "answer_unreadable"),
        (["[1, 2]"], "answer_unreadable"),
        (["null"], "answer_unreadable"),
        (["[" * 100_000], "answer_unreadable"),
        (["9" * 5000], "answer_unreadable"),
        ([record("Te", message="Text")], "answer_unreadable"),
        ([record("Te", message={"content": ["Text"]})], "answer_unreadable"),
        ([record("Te", message={"content": "Te", "thinking": 7})], "answer_unreadable"),
        ([record("Te", done="yes")], "answer_unreadable"),
        ([record("Te")], "answer_incomplete"),
        ([], "answer_incomplete"),
        (["", "\r", " "], "answer_incomplete"),
        ([record("Te"), {"error": "unexpected EOF"}], "model_failed"),
        ([record("Te"), {"error": {"message": ["x"]}}], "model_failed"),
        ([record("x" * 1000)] * 70, "answer_too_long"),
        ([record("x" * 200_000)], "answer_too_long"),
        ([record(message={"content": "", "thinking": "x" * 1000})] * 70, "answer_too_long"),
        ([record(message={"content": "", "tool_calls": [{"a": "x" * 2000}]})] * 70, "answer_too_long"),
        ([record(context=[1] * 2000)] * 70, "answer_too_long"),
        ([record()] * (LEAST_ANSWER_BYTES + 1), "answer_too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_is_no_answer_is_not_taken_for_one(records: list[Any], code: str) -> None:
    async with saying(*records) as (url, _):
        with pytest.raises(TransientError) as raised:
            await ask(url)
    assert raised.value.code == code


SEPARATORS = "\u0085 \u2028 \u2029 \x1c \x1d \x1e \x0b \x0c \r \ufeff end"


async def test_every_separator_inside_a_text_comes_through_raw() -> None:
    raw = json.dumps(record("SEPARATORS")).replace("SEPARATORS", SEPARATORS)
    async with saying(raw, LAST) as (url, _):
        answer, _ = await ask(url)
    assert answer.text == SEPARATORS


@pytest.mark.parametrize(
    "odd",
    [
        {"prompt_eval_count": 2_000_000_000},
        {"prompt_eval_count": -1, "eval_count": -1},
        {"prompt_eval_count": True, "eval_count": [1]},
        {"prompt_eval_count": "many", "eval_count": 1.5},
        {"prompt_eval_count": float("nan"), "eval_count": float("inf")},
        {"prompt_eval_count": 10**40, "eval_count": 10**40},
        {"done_reason": 7, "total_duration": "long", "created_at": None, "model": []},
    ],
    ids=str,
)
async def test_a_number_that_cannot_be_true_is_none_and_the_answer_stands(odd: dict[str, Any]) -> None:
    async with saying(record("Text."), LAST | {"prompt_eval_count": None, "eval_count": None} | odd) as (
        url,
        _,
    ):
        answer, _ = await ask(url)
    assert (answer.text, answer.prompt_tokens, answer.output_tokens) == ("Text.", 0, 0)


async def test_the_last_record_is_the_last_whatever_follows() -> None:
    async with saying(record("Text."), LAST, record("More."), LAST, "<html>") as (url, _):
        answer, heard = await ask(url)
    assert (answer.text, heard) == ("Text.", ["Text."])


async def test_half_a_surrogate_and_nul_are_taken_out_of_an_answer() -> None:
    async with saying(record("a\0b\ud83dc"), LAST) as (url, _):
        assert (await ask(url))[0].text == "ab?c"


def test_an_answer_may_be_four_times_as_long_as_asked_and_always_64_kilobytes() -> None:
    assert most_answer_bytes(10) == 64 * 1024
    assert most_answer_bytes(100_000) == 4 * 4 * 100_000


@pytest.mark.parametrize("count", [2_000_000_000, 0, -1, 900, 1500])
async def test_what_is_counted_of_one_text_makes_no_other_too_long(count: int) -> None:
    async with (
        saying(record("Text."), LAST | {"prompt_eval_count": count}) as (url, _),
        Server(url) as server,
    ):
        asked = model(server)
        before = asked.estimate(TEXT)
        for _ in range(20):
            await asked.chat(MESSAGES, answer_tokens=200, hear=lambda _text: None)
    assert asked.estimate(TEXT) == before
