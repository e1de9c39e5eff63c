"""Listening and stopping without losing a request: own sockets, or those systemd has opened for us.

Knows the application only as something that answers.
"""

import asyncio
import os
import re
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from chassis.errors import ApiError

BACKLOG = 1024
FIRST_ACTIVATED_FD = 3  # SD_LISTEN_FDS_START
KEEPALIVE_SECONDS = 75.0  # also the longest a client may take for its headers
LINGER_SECONDS = 0.3  # for what is on its way on kept-alive connections when we stop
LINGER_LOOKS = 30
HANDLERS_SECONDS = 10.0
UNREAD_BODY_SECONDS = 1.0  # for a client that sends on after its refusal
ADDRESS = re.compile(
    r"unix:(?P<path>/.+)|(\[(?P<host6>[0-9a-fA-F:.]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})"
)

CONTINUE = "100-continue"
# Headers that we look at. Others, such as User-Agent or somebody's cookies, may hold anything.
READ = (
    "accept",
    "authorization",
    "content-encoding",
    "content-type",
    "expect",
    "if-none-match",
    "last-event-id",
    "origin",
    "sec-fetch-site",
    "x-forwarded-for",
)

RequestHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

log = structlog.get_logger()
_stopping = web.AppKey("stopping", asyncio.Event)


@asynccontextmanager
async def serve(app: web.Application, address: str, *, name: str) -> AsyncIterator[str]:
    """Serve `app` on `address` (host:port or unix:/path), or on the activated socket called `name`.

    Yields where it really listens: http://host:port, or unix:/path. On the way out new connections wait in
    the kernel's queue (for our successor, if systemd holds the socket), open ones get their answer and close.
    """
    app[_stopping] = asyncio.Event()
    app.on_response_prepare.append(_say_goodbye)
    runner = web.AppRunner(app, shutdown_timeout=HANDLERS_SECONDS)
    await runner.setup()
    try:
        listening = _activated(name) or _bind(address)
        where = _where(listening)
        server = await asyncio.get_running_loop().create_server(
            partial(_protocol, runner), sock=listening, backlog=BACKLOG
        )
        log.info("http.listening", address=where, socket=name)
        try:
            yield where
        finally:
            server.close()
        app[_stopping].set()
        await _linger(runner)
    finally:
        await runner.cleanup()


def activated_fd(name: str, environ: Mapping[str, str] = os.environ) -> int | None:
    """The descriptor that systemd passed under `name`, if it meant this process."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    names = environ.get("LISTEN_FDNAMES", "").split(":")[: int(environ.get("LISTEN_FDS", "0"))]
    return FIRST_ACTIVATED_FD + names.index(name) if name in names else None


def parse_address(address: str) -> tuple[str, int] | str:
    """`host:port` as a pair, `unix:/path` as a path. Raises ValueError."""
    match = ADDRESS.fullmatch(address)
    if match is None or int(match["port"] or 0) > 65535:
        raise ValueError(f"{address!r} is no address: write host:port or unix:/path")
    return match["path"] or (match["host"] or match["host6"], int(match["port"]))


def _activated(name: str) -> socket.socket | None:
    descriptor = activated_fd(name)
    if descriptor is None:
        return None
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def _bind(address: str) -> socket.socket:
    target = parse_address(address)
    if isinstance(target, str):
        family = socket.AF_UNIX
        _remove_leftover(target)
    else:
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(target)
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from error
    return listening


def _remove_leftover(path: str) -> None:
    """A socket's file outlives its process; another kind of file is not ours to remove."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)


async def _linger(runner: web.AppRunner) -> None:
    """Wait for what is on its way on open connections, and no longer than until they are closed."""
    for _ in range(LINGER_LOOKS):
        if runner.server is None or not runner.server.connections:
            return
        await asyncio.sleep(LINGER_SECONDS / LINGER_LOOKS)


class _Protocol(web.RequestHandler):
    """aiohttp's, with our answer to what is not HTTP, or not in letters: its own repeats the bytes and logs a
    traceback."""

    __slots__ = ()

    async def _handle_request(
        self, request: web.BaseRequest, start_time: float | None, request_handler: RequestHandler
    ) -> tuple[web.StreamResponse, bool]:
        """Before the application: aiohttp looks at Expect before any middleware is asked."""

        async def answer(asked: web.BaseRequest) -> web.StreamResponse:
            return _refusal(asked) or await request_handler(asked)

        return await super()._handle_request(request, start_time, answer)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.info("http.malformed", error=type(exc).__name__)
        response = ApiError(400, "malformed_request", "Send valid HTTP/1.1, and shorter headers.").response()
        response.force_close()
        return response


def _refusal(request: web.BaseRequest) -> web.Response | None:
    """The answer to a request that no handler should see: bytes that are no letters where we read, and an
    expectation that nobody meets."""
    read = [value for name, value in request.headers.items() if name.lower() in READ]
    if not all(text.isascii() for text in (request.raw_path, *read)):
        refused = ApiError(400, "malformed_request", "Send the address and the headers in ASCII.")
    elif request.headers.get(hdrs.EXPECT, CONTINUE).lower() not in ("", CONTINUE):
        refused = ApiError(417, "expectation_failed", f"The only expectation that is met is {CONTINUE}.")
    else:
        return None
    log.info("http.malformed", error=refused.code)
    response = refused.response()
    response.force_close()  # a body may follow, or not
    return response


def _protocol(runner: web.AppRunner) -> _Protocol:
    assert runner.server is not None  # after setup()
    return _Protocol(
        runner.server,
        loop=asyncio.get_running_loop(),
        access_log=None,  # type: ignore[arg-type]  # documented as "no access log"
        auto_decompress=False,  # no body needs it, and it would let a small one unpack to a large one
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=UNREAD_BODY_SECONDS,
    )


def _where(listening: socket.socket) -> str:
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if listening.family == socket.AF_INET6 else name[0]
    return f"http://{host}:{name[1]}"


async def _say_goodbye(request: web.Request, response: web.StreamResponse) -> None:
    if request.app[_stopping].is_set():
        response.headers[hdrs.CONNECTION] = "close"
        response.force_close()
