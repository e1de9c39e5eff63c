"""Scripted faults over the wire: each one as a model server really fails."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY

from listener.engine.server import Engine
from listener.offload.pool import Pool
from tests.listener.engine.conftest import AMPLE, Speaker, speaking_to, text_of
from tests.scripted_engine.faults import CANCELLED, misbehaving
from tests.scripted_engine.rules import RuleFile, RuleReader


@dataclass(frozen=True, slots=True)
class Staged:
    """An engine that misbehaves, and how it is told to."""

    speaker: Speaker
    rules: RuleFile

    async def chat(self, fault: str, **body: Any) -> tuple[int, list[dict[str, Any]]]:
        """The status and all records of a chat that this fault happens to."""
        with self.rules.in_force({"fault": fault}):
            return await self.speaker.chat(**body)


@pytest.fixture
async def staged(tmp_path: Path) -> AsyncIterator[Staged]:
    rules = RuleFile(tmp_path / "faults.json")
    async with Pool(AMPLE, processes=1) as pool:
        app = Engine(pool).application()
        app.middlewares.append(misbehaving(RuleReader(rules.file)))
        async with speaking_to(app) as speaker:
            yield Staged(speaker, rules)


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("error_503", 503, "server busy"),
        ("error_404", 404, "model 'extractive' not found"),
        ("error_500", 500, "model runner has unexpectedly stopped"),
    ],
)
async def test_a_call_can_be_refused(staged: Staged, fault: str, status: int, words: str) -> None:
    got, (record,) = await staged.chat(fault)
    assert got == status
    assert words in record["error"]


async def test_an_error_can_hide_json_in_its_words(staged: Staged) -> None:
    status, (record,) = await staged.chat("error_400_nested", options={"num_ctx": 2048})
    inner = json.loads(record["error"])["error"]
    assert (status, inner["code"], inner["n_ctx"]) == (400, 400, 2048)
    assert inner["n_prompt_tokens"] > 50


async def test_a_stream_can_end_in_an_error(staged: Staged) -> None:
    status, records = await staged.chat("mid_stream_error")
    assert (status, records[0]["done"], "error" in records[-1], len(records)) == (200, False, True, 2)
    status, (record,) = await staged.chat("mid_stream_error", stream=False)
    assert (status, list(record)) == (500, ["error"])


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_can_end_without_saying_that_it_is_done(staged: Staged, stream: bool) -> None:
    _, records = await staged.chat("no_done", stream=stream)
    assert "The bridge" in text_of(records)
    assert not any(record["done"] for record in records)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_connection_can_drop_in_the_middle(staged: Staged, stream: bool) -> None:
    with pytest.raises(aiohttp.ClientError):
        await staged.chat("drop", stream=stream)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_can_be_cut_silently(staged: Staged, stream: bool) -> None:
    _, records = await staged.chat("half_prompt_count", options={"num_ctx": 4096}, stream=stream)
    assert "The bridge" in text_of(records)
    assert (records[-1]["done"], records[-1]["prompt_eval_count"]) == (True, 2050)


async def test_a_model_can_loop_and_never_be_done(staged: Staged) -> None:
    _, records = await staged.chat("repeat_loop")
    assert len(records) >= 1000
    assert len({record["message"]["content"] for record in records}) == 1
    assert not records[-1]["done"]


async def test_a_first_token_can_take_long(staged: Staged) -> None:
    with staged.rules.in_force({"fault": "delay_headers", "seconds": 30}), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await staged.speaker.chat()
    await held_up_call_is_over(staged)


async def test_a_stream_can_stall_after_its_first_sentence(staged: Staged) -> None:
    staged.rules.write({"fault": "slow_drip", "seconds": 30})
    message = {"role": "user", "content": "One is here. Two."}
    body = {"model": "extractive", "messages": [message]}
    async with staged.speaker.post("/api/chat", body) as response:
        assert json.loads(await response.content.readline())["done"] is False
    await held_up_call_is_over(staged)


async def held_up_call_is_over(staged: Staged) -> None:
    """Wait until the one call that was held up is counted as broken off; then none is."""
    async with asyncio.timeout(10):
        while not REGISTRY.get_sample_value("scripted_engine_cancelled_total"):
            await staged.speaker.get("/api/version")
    CANCELLED.reset()


async def test_a_rule_is_for_so_many_calls_and_told_again_for_as_many_more(staged: Staged) -> None:
    for _ in range(2):
        staged.rules.write({"fault": "error_503", "times": 2})
        assert [(await staged.speaker.chat())[0] for _ in range(3)] == [503, 503, 200]


async def test_the_script_is_read_again_for_every_call(staged: Staged) -> None:
    assert (await staged.chat("error_500"))[0] == 500
    assert (await staged.speaker.chat())[0] == 200


async def test_only_calls_for_an_answer_go_wrong(staged: Staged) -> None:
    staged.rules.write({"fault": "error_500", "times": 1})
    assert (await staged.speaker.get("/api/tags"))["models"]
    assert (await staged.speaker.chat(messages=[]))[0] == 200
    assert (await staged.speaker.chat())[0] == 500


@pytest.mark.parametrize("rule", [{}, {"fault": "flood"}, {"fault": "drop", "time": 1}])
def test_a_rule_that_makes_no_sense_is_refused(tmp_path: Path, rule: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        RuleFile(tmp_path / "faults.json").write(rule)
