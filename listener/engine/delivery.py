"""Sends an answer: as a stream of records or as one, with the faults that befall it on the way."""

from aiohttp import web

from listener.engine.answers import Answer
from listener.engine.attention import pause
from listener.engine.faults import MID_STREAM_ERROR
from listener.engine.records import encode, piece_record
from listener.engine.refusal import Refusal


async def send(request: web.Request, answer: Answer) -> web.StreamResponse:
    """The response, sent. Raises ConnectionError if the client has gone, Refusal for a scripted error."""
    if not answer.faults:
        kind = "application/x-ndjson" if answer.call.stream else "application/json; charset=utf-8"
        return web.Response(body=answer.body, headers={"Content-Type": kind})
    if answer.call.stream:
        return await _send_stream(request, answer)
    return await _send_whole(request, answer)


async def _send_stream(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
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
        await response.write(encode(answer.last("")))
    return response


async def _send_whole(request: web.Request, answer: Answer) -> web.Response:
    for _ in answer.pieces:
        await _drip(request, answer)
    if "drop" in answer.faults:
        _drop(request)
    if "mid_stream_error" in answer.faults:
        raise Refusal(500, MID_STREAM_ERROR)
    if answer.faults.keys() & {"no_done", "repeat_loop"}:
        return web.json_response(piece_record(answer.call, answer.text))
    return web.json_response(answer.last(answer.text))


async def _drip(request: web.Request, answer: Answer) -> None:
    if rule := answer.faults.get("slow_drip"):
        await pause(request, rule.seconds)


def _drop(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
