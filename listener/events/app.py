"""The HTTP side: GET /events opens a stream, POST /events/ticket sells a ticket for one.

Knows what is answered; how streams are fed is the hub's and the fetchers' affair.
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from chassis.backoff import spread
from chassis.bearer import Claims, refusal
from chassis.cors import allow_origins
from chassis.database import Pool, troubled
from chassis.http import ApiError, application
from listener.events import frames, query, tickets
from listener.events.hub import Hub, TooManyStreamsError
from listener.events.incarnation import Head, Position, loss, parse
from listener.events.keys import Keys
from listener.events.query import Query
from listener.events.reader import PERSON, Reader, RefusedError
from listener.events.settings import EventsSettings
from listener.events.stream import Ending, Reason, Stream
from listener.events.watch import Watches

RETRY_MILLISECONDS: Final = (2_000, 3_000)
RETRY_OVERLOAD_MILLISECONDS: Final = (5_000, 15_000)
AGE_JITTER: Final = 0.2
SEND_BUFFER_BYTES: Final = 64 * 1024
# A client that has vanished acknowledges nothing; by itself the kernel tries on for a quarter of an hour.
UNACKNOWLEDGED_MILLISECONDS: Final = 60_000

STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
OVERLOADS: Final = {
    "account": (429, "too_many_streams", "This account has too many streams open. Close one, or share it."),
    "process": (503, "too_many_streams", "Too many streams are open here. Try again soon."),
    "stopping": (503, "stopping", "This server is stopping. Try again."),
}


@dataclass(frozen=True, slots=True)
class Services:
    """What the endpoints work with."""

    settings: EventsSettings
    pool: Pool
    hub: Hub
    keys: Keys
    reader: Reader
    watches: Watches


@dataclass(frozen=True, slots=True)
class Admission:
    """A client that may have its stream."""

    claims: Claims
    claims_text: str
    head: Head


def build(services: Services) -> web.Application:
    """The application of `listener events`."""
    endpoints = Endpoints(services)
    app = application(name="events", max_body_bytes=1024)
    app.router.add_get("/events", endpoints.open_stream, allow_head=False)
    app.router.add_post("/events/ticket", endpoints.sell_ticket)
    allow_origins(app, services.settings.allowed_origins)
    return app


class Endpoints:
    """One method for each route."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def sell_ticket(self, request: web.Request) -> web.Response:
        """A single-use ticket for a native EventSource, which can send no header."""
        claims = await self._verify(query.bearer(request))
        await self._pass_gate(claims)
        ticket = await tickets.issue(self._services.pool, claims)
        return web.json_response({"ticket": ticket, "expires_in": tickets.TICKET_SECONDS})

    async def open_stream(self, request: web.Request) -> web.StreamResponse:
        """The stream itself, until one side ends it."""
        asked = query.parse(request)
        async with contextlib.AsyncExitStack() as seat:
            try:
                admission = await self._admit(request, asked, seat)
            except Exception as error:
                if refused := _overload(error):
                    return await _put_off(request, refused)
                raise
            return await self._stream(request, asked, admission)

    async def _admit(self, request: web.Request, asked: Query, seat: contextlib.AsyncExitStack) -> Admission:
        """Check who asks and whether there is room, the cheapest first. A ticket is used up last."""
        hub, watches = self._services.hub, self._services.watches
        hub.check_room()
        claims = await self._identify(request, asked)
        seat.enter_context(hub.seat(claims.subject))
        if asked.ticket and not await tickets.take(self._services.pool, asked.ticket):
            raise _bad_ticket()
        # The watch before the backlog: what is appended in between is in the one or rings for the other.
        await watches.ensure(claims.subject)
        return Admission(claims, _text(claims), await self._pass_gate(claims))

    async def _identify(self, request: web.Request, asked: Query) -> Claims:
        """By token, by ticket, or by both if they are the same account's."""
        token = query.bearer(request)
        claims = await self._verify(token) if token or not asked.ticket else None
        if not asked.ticket and claims:
            return claims
        bought = await tickets.read(self._services.pool, asked.ticket)
        if bought is None or (claims and claims.subject != bought.subject):
            raise _bad_ticket()
        return bought

    async def _verify(self, token: str | None) -> Claims:
        if token is None:
            raise refusal("missing_token", "Send an access token: Authorization: Bearer, or a ticket.")
        claims = await self._services.keys.verify(token)
        if claims.role != PERSON:  # the gate looks at no other role's claims
            raise refusal("invalid_token", "The access token is not valid: sign in again.")
        return claims

    async def _pass_gate(self, claims: Claims) -> Head:
        try:
            return await self._services.reader.head(_text(claims))
        except RefusedError as error:
            raise refusal(error.code, error.message) from error

    async def _stream(self, request: web.Request, asked: Query, admission: Admission) -> web.StreamResponse:
        response = await _begin(request)
        if request.transport is None:
            return response
        stream, opening = _open(request.transport, asked, admission.head)
        longest = self._services.settings.stream_max_seconds
        age = spread((1 - AGE_JITTER) * longest, longest)
        claims = admission.claims
        with (
            self._services.hub.joined(claims.subject, admission.claims_text, stream) as ask,
            _timer(claims.expires_at - time.time(), stream, "expiry"),
            _timer(age, stream, "age"),
        ):
            await stream.write(response.write, opening, ask)
        return response


def farewell(reason: Reason) -> Ending:
    """How a stream ends for a reason that lies with us or with the clock."""
    if reason == "expiry":
        return Ending(reason, frames.token("token_expired", "The access token has expired: refresh it."))
    return Ending(reason, frames.bye(reason, _spread(RETRY_MILLISECONDS)))


def _open(transport: asyncio.Transport, asked: Query, head: Head) -> tuple[Stream, bytes]:
    """The stream from where its client stands, and what the client is told at once."""
    retry = frames.retry(_spread(RETRY_MILLISECONDS))
    current = Position(head.incarnation, head.n)
    start = Position(head.incarnation, 0) if asked.replay else current
    if asked.resume:
        start = parse(asked.resume)
    stream = Stream(transport, start, asked.wish)
    if reason := loss(start, head):
        # The new id goes out with the reset and not before it: else a cut in between would hide the loss.
        stream.start_over(reason, current)
        return stream, retry
    return stream, retry + frames.cursor(start)


async def _begin(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers=STREAM_HEADERS)
    response.force_close()  # so that whoever aborts the connection hits this stream only
    await response.prepare(request)
    connection = request.get_extra_info("socket")
    if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MILLISECONDS)
    return response


async def _put_off(request: web.Request, refused: ApiError) -> web.StreamResponse:
    """A browser's own EventSource, which sends no header, never comes back after anything but 200."""
    if hdrs.AUTHORIZATION in request.headers:
        raise refused
    return web.Response(body=frames.retry(_spread(RETRY_OVERLOAD_MILLISECONDS)), headers=STREAM_HEADERS)


def _overload(error: Exception) -> ApiError | None:
    """The answer to what is over in a moment, None for everything else."""
    if isinstance(error, TooManyStreamsError):
        status, code, message = OVERLOADS[error.scope]
        return ApiError(status, code, message, headers={"Retry-After": "5"})
    if troubled(error):
        message = "The database cannot be reached. Try again."
        return ApiError(503, "unavailable", message, headers={"Retry-After": "2"})
    if isinstance(error, ApiError) and error.status == 503:
        return error
    return None


def _bad_ticket() -> ApiError:
    return refusal("invalid_ticket", "This ticket is used, too old or not yours: get a new one.")


@contextlib.contextmanager
def _timer(seconds: float, stream: Stream, reason: Reason) -> Iterator[None]:
    timer = asyncio.get_running_loop().call_later(seconds, lambda: stream.end(farewell(reason)))
    try:
        yield
    finally:
        timer.cancel()


def _text(claims: Claims) -> str:
    return json.dumps(claims.raw, separators=(",", ":"))


def _spread(limits: tuple[int, int]) -> int:
    return round(spread(*limits))
