"""Sends an answer: as a stream of records or as one, with the faults that befall it on the way."""

from typing import Any

from aiohttp import web

from listener.engine.answers import Answer
from listener.engine.attention import pause
from listener.engine.faults import MID_STREAM_ERROR
from listener.engine.records import encode, last_record, piece_record
from listener.engine.refusal import Refusal
from listener.text.tokens import estimate_tokens


async def send(request: web.Request, answer: Answer) -> web.StreamResponse:
    """The response, sent. Raises ConnectionError if the client has gone, Refusal for a scripted error."""
    if answer.call.stream:
        return await _send_stream(request, answer)
    return await _send_whole(request, answer)


async def _send_stream(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    if not answer.faults:
        # All is there: records that go out one by one would wake the client for each.
        records = [*(piece_record(answer.call, text) for text in answer.pieces), _last(answer, "")]
        await response.prepare(request)
        await response.write_eof(b"".join(map(encode, records)))
        return response
    for text in answer.pieces:
        # As with Ollama, not even the headers go out before there is something to say.
        await response.prepare(request)
        await response.write(encode(piece_record(answer.call, text)))
        if "drop" in answer.faults:
            _drop(request)
            return response
        if "mid_stream_error" in answer.faults:
            await response.write(encode({"error": MID_STREAM_ERROR}))
            return response
        await _drip(request, answer)
    await response.prepare(request)
    if not answer.faults.keys() & {"no_done", "repeat_loop"}:
        await response.write(encode(_last(answer, "")))
    return response


async def _send_whole(request: web.Request, answer: Answer) -> web.Response:
    for _ in answer.pieces:
        await _drip(request, answer)
    if "drop" in answer.faults:
        _drop(request)
    if "mid_stream_error" in answer.faults:
        raise Refusal(500, MID_STREAM_ERROR)
    text = "".join(answer.pieces)
    if answer.faults.keys() & {"no_done", "repeat_loop"}:
        return web.json_response(piece_record(answer.call, text))
    return web.json_response(_last(answer, text))


async def _drip(request: web.Request, answer: Answer) -> None:
    if rule := answer.faults.get("slow_drip"):
        await pause(request, rule.seconds)


def _drop(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _last(answer: Answer, text: str) -> dict[str, Any]:
    # The durations of sending are the client's own; what the engine takes is in making the answer.
    said = estimate_tokens("".join(answer.pieces))
    return last_record(
        answer.call,
        text,
        answer.reason,
        total_duration=answer.compose_ns,
        load_duration=1,
        prompt_eval_count=answer.prompt_tokens,
        prompt_eval_duration=answer.compose_ns,
        eval_count=said,
        eval_duration=1,
    )
