"""A middleware between the engine and its clients: what a model server does wrong, done to a right answer."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter

from listener.engine.calls import Call, Refusal, read_chat, read_generate, read_object
from listener.engine.replies import encode, piece_record
from listener.engine.server import while_connected
from listener.text.tokens import estimate_tokens
from tests.scripted_engine.rules import Fault, Rule, RuleReader

READERS = {"/api/chat": read_chat, "/api/generate": read_generate}
MID_STREAM_ERROR = "an error was encountered while running the model: unexpected EOF"
LOOP_PIECES = 2_000
NEVER_DONE: set[Fault] = {"no_done", "repeat_loop"}
# Beside the engine's own count: it has made its answer by then.
CANCELLED = Counter("scripted_engine_cancelled_total", "Calls whose client left while they were held up.")

Faults = Mapping[Fault, Rule]


@dataclass(frozen=True, slots=True)
class Answer:
    """A right answer, taken apart: its pieces, and the record that ends it."""

    call: Call
    pieces: list[str]
    last: dict[str, Any]

    @property
    def whole(self) -> dict[str, Any]:
        """The one record that is sent without `stream`, not yet done."""
        return {**self.last, **piece_record(self.call, "".join(self.pieces))}


def misbehaving(rules: RuleReader) -> Middleware:
    """To be the innermost one: a refusal takes the engine's own way out."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in READERS or not rules.left():
            return await handler(request)
        call = READERS[request.path](read_object(await request.read()))
        if call.empty:  # it only loads or unloads
            return await handler(request)
        try:
            return await _misbehave(request, handler, call, rules.apply())
        except ConnectionError:
            CANCELLED.inc()
            raise

    return middleware


async def _misbehave(
    request: web.Request, handler: Handler, call: Call, faults: Faults
) -> web.StreamResponse:
    await _hold_up(request, faults.get("delay_headers"))
    for fault, refusal in _refusals(call).items():
        if fault in faults:
            raise refusal
    response = await handler(request)
    if response.status != 200:
        return response
    assert isinstance(response, web.Response)
    answer = _spoil(_take_apart(call, response), faults)
    send = _send_stream if call.stream else _send_whole
    return await send(request, answer, faults)


async def _hold_up(request: web.Request, rule: Rule | None) -> None:
    if rule:
        await while_connected(request, asyncio.sleep(rule.seconds))


def _refusals(call: Call) -> dict[Fault, Refusal]:
    return {
        "error_503": Refusal(503, "server busy, please try again.  maximum pending requests exceeded"),
        "error_404": Refusal(404, f"model '{call.model}' not found"),
        "error_400_nested": Refusal(400, _nested_error(call)),
        "error_500": Refusal(
            500,
            "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
            "error, check ollama server logs for details",
        ),
    }


def _nested_error(call: Call) -> str:
    error = {
        "code": 400,
        "message": "the request exceeds the available context size, try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": estimate_tokens(call.prompt),
        "n_ctx": call.num_ctx,
    }
    return json.dumps({"error": error})


def _take_apart(call: Call, response: web.Response) -> Answer:
    assert isinstance(response.body, bytes)
    *pieces, last = [json.loads(line) for line in response.body.splitlines()]
    texts = [_text(piece) for piece in (pieces if call.stream else [last])]
    return Answer(call, texts, last)


def _text(record: dict[str, Any]) -> str:
    text: str = record["message"]["content"] if "message" in record else record["response"]
    return text


def _spoil(answer: Answer, faults: Faults) -> Answer:
    """What is wrong with the answer itself."""
    if "half_prompt_count" in faults:  # as servers from 0.31 on cut a prompt silently
        num_ctx = answer.call.num_ctx
        answer = replace(answer, last=answer.last | {"prompt_eval_count": num_ctx - (num_ctx - 4) // 2})
    if "repeat_loop" in faults:
        answer = replace(answer, pieces=[(answer.pieces or ["again"])[-1] + " "] * LOOP_PIECES)
    return answer


async def _send_stream(request: web.Request, answer: Answer, faults: Faults) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for text in answer.pieces:
        await response.write(encode(piece_record(answer.call, text)))
        if "drop" in faults:
            _drop(request)
            return response
        if "mid_stream_error" in faults:
            await response.write(encode({"error": MID_STREAM_ERROR}))
            return response
        await _hold_up(request, faults.get("slow_drip"))
    if not faults.keys() & NEVER_DONE:
        await response.write(encode(answer.last))
    return response


async def _send_whole(request: web.Request, answer: Answer, faults: Faults) -> web.StreamResponse:
    await _hold_up(request, faults.get("slow_drip"))
    if "drop" in faults:
        _drop(request)
    if "mid_stream_error" in faults:
        raise Refusal(500, MID_STREAM_ERROR)
    return web.json_response(answer.whole | {"done": not faults.keys() & NEVER_DONE})


def _drop(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
