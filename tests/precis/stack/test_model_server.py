"""precis.stack.model_server: an Ollama with a model is found, and nothing else is taken for one."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from precis.stack import model_server
from precis.stack.model_server import Ollama, find_ollama

from chassis.http import application, serve


@asynccontextmanager
async def ollama(
    models: Mapping[str, Any], *, tags_seconds: float = 0.0, show_seconds: float = 0.0
) -> AsyncIterator[str]:
    """Answers as Ollama does, for models with these capabilities, as slowly as is wanted."""

    async def tags(_: web.Request) -> web.Response:
        await asyncio.sleep(tags_seconds)
        return web.json_response({"models": [{"name": name} for name in models]})

    async def show(request: web.Request) -> web.Response:
        await asyncio.sleep(show_seconds)
        capabilities = models[(await request.json())["model"]]
        return web.json_response({} if capabilities is None else {"capabilities": capabilities})

    app = application(name="pretended", max_body_bytes=1024)
    app.add_routes([web.get("/api/tags", tags), web.post("/api/show", show)])
    async with serve(app, "127.0.0.1:0", name="pretended") as url:
        yield url


async def find(*hosts: str) -> Ollama | None:
    async with aiohttp.ClientSession() as session:
        return await find_ollama(session, hosts)


async def test_a_server_with_a_model_that_writes_is_taken() -> None:
    async with ollama({"llama": ["completion"], "embedder": ["embedding"], "old": None}) as url:
        assert await find("http://127.0.0.1:9", f"{url}/") == Ollama(url, ("llama", "old"))


async def test_a_server_without_one_is_not() -> None:
    async with ollama({"embedder": ["embedding"]}) as embeds, ollama({}) as empty:
        assert await find(embeds, empty) is None


async def test_something_else_on_the_port_is_not() -> None:
    app = application(name="pretended", max_body_bytes=1024)
    async with serve(app, "127.0.0.1:0", name="pretended") as url:
        assert await find(url) is None


async def test_a_server_that_is_slow_to_say_what_it_has_is_taken_all_the_same() -> None:
    async with ollama({"llama": ["completion"]}, tags_seconds=1.2, show_seconds=1.2) as url:
        assert await find(url) == Ollama(url, ("llama",))


async def test_a_model_that_is_too_slow_to_say_what_it_can_is_taken_at_its_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_server, "PATIENCE", aiohttp.ClientTimeout(total=2.0))
    async with ollama({"llama": ["completion"]}, show_seconds=30.0) as url:
        assert await find(url) == Ollama(url, ("llama",))


@pytest.mark.parametrize("capabilities", [7, "embedding", ["embedding"], {"a": 1}], ids=str)
async def test_one_model_that_says_nonsense_does_not_hide_the_others(capabilities: Any) -> None:
    async with ollama({"odd": capabilities, "llama": ["completion"]}) as url:
        assert await find(url) == Ollama(url, ("llama",))
