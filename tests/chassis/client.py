"""Talking to a server under test: a plain socket where the bytes matter, else aiohttp's client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from chassis.http import application, serve

Handler = Any


@asynccontextmanager
async def client(app: web.Application) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of `app`, served on a free port of loopback."""
    async with serve(app, "127.0.0.1:0", name="test") as url, aiohttp.ClientSession(url) as session:
        yield session


def app_of(*routes: web.RouteDef, max_body_bytes: int = 16 * 1024) -> web.Application:
    app = application(name="test", max_body_bytes=max_body_bytes)
    app.add_routes(routes)
    return app


async def dialogue(url: str, sent: bytes) -> bytes:
    """All that a server answers to these bytes until it closes the connection."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer
