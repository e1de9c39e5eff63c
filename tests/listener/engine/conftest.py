"""The engine as a server on a free port, and how to speak to it."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout, web
from prometheus_client import REGISTRY

from chassis.http import serve
from listener.engine.server import Engine
from listener.offload.pool import Pool
from listener.offload.process import Budget

AMPLE = Budget(cpu_seconds=20.0, memory_mb=512)
DOCUMENT = (
    "The bridge over the river will close in March. Its cables are corroded, the council said. "
    "Work on the bridge will cost 38 million pounds. The ferry will carry walkers over the river. "
    "A cat slept on a wall. Drivers must take the road through Melford, a detour of 19 miles."
)


def prompt(document: str = DOCUMENT, **card: Any) -> str:
    """A user message as tasks write it."""
    line = json.dumps({"task": "summarize", "target_words": 20, "style": "plain", "language": "same", **card})
    return f"{line}\n<doc-7f3a>\n{document}\n</doc-7f3a>\nSummarise the document."


@dataclass(frozen=True, slots=True)
class Speaker:
    """A client of one engine."""

    session: ClientSession
    url: str

    async def chat(self, content: str = "", **body: Any) -> tuple[int, list[dict[str, Any]]]:
        """The status and all records of a chat."""
        message = {"role": "user", "content": content or prompt()}
        async with self.post("/api/chat", {"model": "extractive", "messages": [message], **body}) as response:
            return response.status, [json.loads(line) async for line in response.content]

    def post(self, path: str, body: Any) -> Any:
        raw = io.BytesIO(json.dumps(body).encode())  # aiohttp warns of large bodies that are plain bytes
        return self.session.post(self.url + path, data=raw)

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as response:
            return await response.json()

    async def refusal(self, path: str, body: Any) -> tuple[int, str]:
        """The status and the error's words."""
        async with self.post(path, body) as response:
            return response.status, (await response.json())["error"]


def text_of(records: list[dict[str, Any]]) -> str:
    return "".join(record["message"]["content"] for record in records)


def count(outcome: str) -> float:
    """How many calls ended so, as the metrics say."""
    return REGISTRY.get_sample_value("precis_engine_calls_total", {"outcome": outcome}) or 0.0


async def cancelled(speaker: Speaker, before: float) -> None:
    """Wait until one more call than `before` is counted as broken off."""
    async with asyncio.timeout(10):
        while count("cancelled") == before:
            await speaker.get("/api/version")


@asynccontextmanager
async def speaking(budget: Budget = AMPLE) -> AsyncIterator[Speaker]:
    async with Pool(budget, processes=2) as pool, speaking_to(Engine(pool).application()) as speaker:
        yield speaker


@asynccontextmanager
async def speaking_to(app: web.Application) -> AsyncIterator[Speaker]:
    async with (
        serve(app, "127.0.0.1:0", name="engine") as url,
        ClientSession(timeout=ClientTimeout(30)) as session,
    ):
        yield Speaker(session, url)


@pytest.fixture
async def engine() -> AsyncIterator[Speaker]:
    async with speaking() as speaker:
        yield speaker
