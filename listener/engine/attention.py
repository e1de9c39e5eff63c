"""Work for a client that may go away: it is noticed at once, and nothing more is done for it."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from aiohttp import web

T = TypeVar("T")

_LOOK_SECONDS = 0.05  # aiohttp tells a handler of a closed connection only when it writes


class ClientGone(ConnectionError):
    """The client has closed its connection: nobody waits for the answer."""


async def attend(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """What the work returns. Raises ClientGone, once the work has been cancelled for it."""
    running = asyncio.ensure_future(work)
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=_LOOK_SECONDS)
            _look(request)
        return running.result()
    finally:
        if running.cancel():
            with suppress(asyncio.CancelledError):
                await running


def _look(request: web.Request) -> None:
    if request.transport is None or request.transport.is_closing():
        raise ClientGone("the client has closed the connection")
