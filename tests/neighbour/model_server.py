"""A model server whose every call takes the same time, and which answers a text that bears a trick's name
in that unusual way. Knows nothing of who asks.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

MODEL = "small:latest"
CALL_SECONDS = 0.4
SENTENCE = "The ledger says that the barrels of salt left the harbour in spring and were counted in summer."
TRICK = re.compile(r"trick-([a-z]+)")
PAUSE_SECONDS = 0.005
LONG_BYTES = 10_000_000

Answer = Callable[[web.StreamResponse], Awaitable[None]]


async def plainly(response: web.StreamResponse, **last: object) -> None:
    """One sentence, spread over the time of a call."""
    first, middle, end = SENTENCE.partition(" in spring ")
    for text in (first, middle, end):
        await response.write(record(text))
        await asyncio.sleep(CALL_SECONDS / 3)
    await response.write(record("", done=True, **last))


async def separated(response: web.StreamResponse) -> None:
    """Separators that JSON allows in a string and that some take for ends of lines."""
    await response.write(record(SENTENCE.replace(" in ", " \u2028in\u0085 \u2029"), ascii_only=False))
    await response.write(record("", done=True))


async def miscounted(response: web.StreamResponse) -> None:
    await plainly(response, prompt_eval_count=2_000_000_000, eval_count=1)


async def overcounted(response: web.StreamResponse) -> None:
    await plainly(response, prompt_eval_count=7_900, eval_count=1)


async def negative(response: web.StreamResponse) -> None:
    await plainly(response, prompt_eval_count=-5, eval_count=-1)


async def endless(response: web.StreamResponse) -> None:
    while True:
        await response.write(record(f"{SENTENCE} "))
        await asyncio.sleep(PAUSE_SECONDS)


async def long(response: web.StreamResponse) -> None:
    piece = record("word " * 2000)
    for _ in range(LONG_BYTES // len(piece)):
        await response.write(piece)
    await response.write(record("", done=True))


async def unbroken(response: web.StreamResponse) -> None:
    """One word of 200 kB, for those who look at answers."""
    await response.write(record("x" * 200_000))
    await response.write(record("", done=True))


async def garbage(response: web.StreamResponse) -> None:
    await response.write(b"\xff\xfe not JSON\n")


async def nested(response: web.StreamResponse) -> None:
    await response.write(b"[" * 50_000 + b"]" * 50_000 + b"\n")


async def listed(response: web.StreamResponse) -> None:
    await response.write(b'[{"message": ["assistant"]}]\n')


TRICKS: dict[str, Answer] = {
    function.__name__: function
    for function in (separated, miscounted, overcounted, negative, endless, long, unbroken, garbage, nested,
                     listed)
}  # fmt: skip


def record(text: str, *, done: bool = False, ascii_only: bool = True, **more: object) -> bytes:
    found = {"model": MODEL, "message": {"role": "assistant", "content": text}, "done": done, **more}
    ending = {"done_reason": "stop"} if done else {}
    return json.dumps(found | ending, ensure_ascii=ascii_only).encode() + b"\n"


async def chat(request: web.Request) -> web.StreamResponse:
    trick = TRICK.search(json.dumps((await request.json())["messages"]))
    if trick and trick[1] == "broken":
        return web.json_response({"error": "this text is too much for me"}, status=500)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    await (TRICKS[trick[1]](response) if trick else plainly(response))
    await response.write_eof()
    return response


async def tags(_request: web.Request) -> web.Response:
    return web.json_response({"models": [{"name": MODEL, "digest": "sha"}]})


async def show(_request: web.Request) -> web.Response:
    info = {"general.architecture": "llama", "llama.context_length": 8192}
    details = {"family": "llama"}
    return web.json_response({"capabilities": ["completion"], "model_info": info, "details": details})


async def version(_request: web.Request) -> web.Response:
    return web.json_response({"version": "0.0.1"})


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Its address."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_get("/api/tags", tags)
    app.router.add_get("/api/version", version)
    app.router.add_post("/api/show", show)
    app.router.add_post("/api/chat", chat)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
