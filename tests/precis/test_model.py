"""precis.model: an Ollama with a model is found, and nothing else is taken for one."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from precis.model import Ollama, find_ollama

from chassis.http import application, serve


@asynccontextmanager
async def ollama(models: Mapping[str, list[str] | None]) -> AsyncIterator[str]:
    """Answers as Ollama does, for models with these capabilities."""

    async def tags(_: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name} for name in models]})

    async def show(request: web.Request) -> web.Response:
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
