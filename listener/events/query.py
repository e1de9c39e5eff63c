"""What a client asks of a stream, read from its URL and headers.

Knows neither keys nor database. Errors here are the caller's: 400 with a sentence.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from aiohttp import hdrs, web

from chassis.bearer import refusal
from chassis.http import ApiError
from listener.events.stream import Wish

KINDS: Final = ("request",)


@dataclass(frozen=True, slots=True)
class Query:
    """`resume` is the last event id of the client, "" for none; `replay` asks for everything that is kept."""

    resume: str
    replay: bool
    wish: Wish
    ticket: str


def parse(request: web.Request) -> Query:
    """The query of GET /events. Raises ApiError 400."""
    given = request.query
    if given.get("since", "0") != "0":
        raise ApiError(400, "invalid_since", "The only value of since is 0: everything that is kept.")
    # A native EventSource repeats its URL at each reconnect: what its header says is newer.
    resume = request.headers.get("Last-Event-ID") or given.get("lastEventId", "")
    wish = Wish(_request_id(given.get("request")), _kinds(given.getall("kind", [])))
    return Query(resume, "since" in given, wish, given.get("ticket", ""))


def bearer(request: web.Request) -> str | None:
    """The token in the Authorization header, None without that header. Raises ApiError 401."""
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise refusal("invalid_token", "Send the access token as a bearer token.")
    return token.strip()


def _request_id(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text is not None else None
    except ValueError as error:
        raise ApiError(400, "invalid_request_id", "The id of a request is a UUID.") from error


def _kinds(names: list[str]) -> frozenset[str]:
    if unknown := set(names) - set(KINDS):
        message = f"There are no events of this kind; the kinds are: {', '.join(KINDS)}."
        raise ApiError(400, "unknown_kind", message, details=sorted(unknown))
    return frozenset(names)
