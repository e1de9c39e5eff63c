"""Work for a client that may go away: it is noticed at once, and nothing more is done for it."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from aiohttp import web

T = TypeVar("T")

_LOOK_SECONDS = 0.05  # aiohttp tells a handler of a closed connection only when it writes

Checkpoint = Callable[[], None]


class ClientGone(ConnectionError):
    """The client has closed its connection: nobody waits for the answer."""


async def attend(request: web.Request, executor: Executor | None, job: Callable[[Checkpoint], T]) -> T:
    """The result of `job`, run in a thread. Raises ClientGone, upon which the job's next checkpoint ends
    it."""
    abandoned = threading.Event()

    def checkpoint() -> None:
        if abandoned.is_set():
            raise ClientGone

    running = asyncio.get_running_loop().run_in_executor(executor, job, checkpoint)
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=_LOOK_SECONDS)
            _look(request)
        return running.result()
    finally:
        abandoned.set()
        running.cancel()  # one that waits for a thread never starts


async def pause(request: web.Request, seconds: float) -> None:
    """Wait, unless the client goes away. Raises ClientGone."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while (left := until - loop.time()) > 0:
        await asyncio.sleep(min(left, _LOOK_SECONDS))
        _look(request)


def _look(request: web.Request) -> None:
    if request.transport is None or request.transport.is_closing():
        raise ClientGone("the client has closed the connection")
