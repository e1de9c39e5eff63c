"""A model server that goes wrong in a chosen way at each text that bears the mark, and answers all others."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from aiohttp import web

from tests.listener.model.small_server import SmallServer

MARK = "arsenic"
WORD = "again and again "

# What it does -> the code that the request ends with.
Poison = Literal[
    "error", "engine error", "error in the middle", "no JSON", "no record", "no UTF-8", "empty", "loop",
    "flood", "one endless line", "thinks for ever", "cut off", "hangs up", "never begins", "stalls",
    "odd counts",
]  # fmt: skip
POISONS: tuple[Poison, ...] = get_args(Poison)
CODES: Mapping[Poison, str | None] = {
    "error": "model_failed",
    "engine error": "engine_failed",
    "error in the middle": "model_failed",
    "no JSON": "answer_unreadable",
    "no record": "answer_unreadable",
    "no UTF-8": "answer_unreadable",
    "empty": "answer_empty",
    "loop": "answer_loops",
    "flood": "answer_too_long",
    "one endless line": "answer_too_long",
    "thinks for ever": "answer_too_long",
    "cut off": "answer_incomplete",
    "hangs up": "stream_broken",
    "never begins": "model_timeout",
    "stalls": "model_stalled",
    "odd counts": None,
}
FLOOD = 400_000


@dataclass
class PoisonServer(SmallServer):
    """`poison` is what the mark does."""

    poison: Poison = "error"

    async def chat(self, request: web.Request) -> web.StreamResponse:
        if MARK not in await request.text():
            return await super().chat(request)
        if self.poison == "error":
            return web.json_response({"error": "float division by zero"}, status=500)
        if self.poison == "engine error":
            return web.json_response({"error": "failed", "code": "engine_failed"}, status=500)
        if self.poison == "never begins":
            await asyncio.Event().wait()
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(self._said())
        if self.poison == "stalls":
            await asyncio.Event().wait()
        if self.poison == "hangs up" and request.transport is not None:
            request.transport.abort()
        return response

    def _said(self) -> bytes:
        text, last = _record("Some text."), _record("", done=True, done_reason="stop")
        said: dict[Poison, bytes] = {
            "error in the middle": text + json.dumps({"error": "unexpected EOF"}).encode(),
            "no JSON": b"<html>Oops</html>\n",
            "no record": b"[1, 2, 3]\n",
            "no UTF-8": text.replace(b"Some", b"\xff\xfe"),
            "empty": _record(" ") + last,
            "loop": _record(WORD) * 400,
            "flood": _record("".join(map(str, range(2000)))) * (FLOOD // 6000),
            "one endless line": b" " * FLOOD,
            "thinks for ever": _record("", message={"content": "", "thinking": "Hm. " * 1000})
            * (FLOOD // 4000),
            "odd counts": text + last.replace(b"true", b'true, "prompt_eval_count": 2000000000'),
        }
        return said.get(self.poison, text)


def _record(content: str, **more: Any) -> bytes:
    record = {"model": "m", "message": {"role": "assistant", "content": content}, "done": False} | more
    return json.dumps(record).encode() + b"\n"
