"""Scripted faults over the wire: each one as a model server really fails."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from listener.engine.faults import FaultsError, read_rules
from tests.listener.engine.conftest import Speaker, cancelled, count, text_of


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("error_503", 503, "server busy"),
        ("error_404", 404, "model 'extractive' not found"),
        ("error_500", 500, "model runner has unexpectedly stopped"),
        ("refuse_images", 400, "does not support vision"),
    ],
)
async def test_a_call_can_be_refused(engine: Speaker, fault: str, status: int, words: str) -> None:
    engine.misbehave({"fault": fault})
    got, (record,) = await engine.chat()
    assert got == status
    assert words in record["error"]


async def test_an_error_can_hide_json_in_its_words(engine: Speaker) -> None:
    engine.misbehave({"fault": "error_400_nested"})
    status, (record,) = await engine.chat(options={"num_ctx": 2048})
    inner = json.loads(record["error"])["error"]
    assert (status, inner["code"], inner["n_ctx"]) == (400, 400, 2048)
    assert inner["n_prompt_tokens"] > 50


async def test_a_stream_can_end_in_an_error(engine: Speaker) -> None:
    engine.misbehave({"fault": "mid_stream_error"})
    status, records = await engine.chat()
    assert (status, records[0]["done"], "error" in records[-1], len(records)) == (200, False, True, 2)


async def test_a_stream_can_end_without_saying_that_it_is_done(engine: Speaker) -> None:
    engine.misbehave({"fault": "no_done"})
    _, records = await engine.chat()
    assert not any(record["done"] for record in records)


async def test_a_connection_can_drop_in_the_middle(engine: Speaker) -> None:
    engine.misbehave({"fault": "drop"})
    with pytest.raises(aiohttp.ClientError):
        await engine.chat()


async def test_a_prompt_can_be_cut_silently(engine: Speaker) -> None:
    engine.misbehave({"fault": "half_prompt_count"})
    _, records = await engine.chat(options={"num_ctx": 4096})
    assert records[-1]["prompt_eval_count"] == 2050


async def test_thoughts_can_leak(engine: Speaker) -> None:
    engine.misbehave({"fault": "think_leak"})
    _, records = await engine.chat()
    assert text_of(records).startswith("<think>")
    assert "</think>\n\nThe bridge" in text_of(records)


async def test_a_model_can_loop_and_never_be_done(engine: Speaker) -> None:
    engine.misbehave({"fault": "repeat_loop"})
    _, records = await engine.chat()
    assert len(records) >= 1000
    assert len({record["message"]["content"] for record in records}) == 1
    assert not records[-1]["done"]


async def test_a_first_token_can_take_long(engine: Speaker) -> None:
    engine.misbehave({"fault": "delay_headers", "seconds": 30})
    before = count("cancelled")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await engine.chat()
    await cancelled(engine, before)


async def test_a_stream_can_stall_after_its_first_sentence(engine: Speaker) -> None:
    engine.misbehave({"fault": "slow_drip", "seconds": 30})
    body: dict[str, Any] = {
        "model": "extractive",
        "messages": [{"role": "user", "content": "One is here. Two."}],
    }
    before = count("cancelled")
    async with engine.post("/api/chat", body) as response:
        assert json.loads(await response.content.readline())["done"] is False
    await cancelled(engine, before)


async def test_a_rule_befalls_only_so_many_calls(engine: Speaker) -> None:
    engine.misbehave({"fault": "error_503", "times": 2})
    assert [(await engine.chat())[0] for _ in range(3)] == [503, 503, 200]


async def test_a_rule_befalls_only_what_it_matches(engine: Speaker) -> None:
    engine.misbehave({"fault": "error_503", "match": {"contains": "corroded", "model": "extractive"}})
    assert (await engine.chat())[0] == 503
    assert (await engine.chat("Another text."))[0] == 200
    engine.misbehave({"fault": "error_503", "match": {"model": "llama3"}})
    assert (await engine.chat())[0] == 200


async def test_the_script_is_read_again_for_every_call(engine: Speaker) -> None:
    engine.misbehave({"fault": "error_500"})
    assert (await engine.chat())[0] == 500
    engine.misbehave()
    assert (await engine.chat())[0] == 200


async def test_a_script_that_breaks_while_it_runs_is_told_to_the_caller(engine: Speaker) -> None:
    engine.faults_file.write_text("{")
    status, (record,) = await engine.chat()
    assert status == 500
    assert "no list of fault rules" in record["error"]


@pytest.mark.parametrize(
    "rules",
    [
        "",
        "7",
        '[{"fault": "flood"}]',
        "[{}]",
        '[{"fault": "drop", "time": 1}]',
        '[{"fault": "drop", "match": {"a": 1}}]',
    ],
)
def test_a_script_that_makes_no_sense_is_refused(tmp_path: Path, rules: str) -> None:
    file = tmp_path / "faults.json"
    file.write_text(rules)
    with pytest.raises(FaultsError):
        read_rules(file)
