"""How a refresh token travels: in the body, or in a cookie that scripts cannot read. Never both.

Knows no session: only the text of a token and the request around it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from authsvc.errors import OriginError
from authsvc.settings import is_loopback_host
from chassis.cors import origin_of

Delivery: TypeAlias = Literal["cookie", "body"]

COOKIE = "authsvc_rt"
# Not "/": PostgREST copies every cookie it is sent into a setting that SQL and logs can see.
COOKIE_PATH = "/auth"


@dataclass(frozen=True, slots=True)
class Browsers:
    """What pages may do here. `origins` are those that may call us with the cookie."""

    public_url: str
    origins: frozenset[str]

    @classmethod
    def allow(cls, public_url: str, others: tuple[str, ...]) -> "Browsers":
        return cls(public_url, frozenset({public_url, *others}))

    @property
    def is_https(self) -> bool:
        return self.public_url.startswith("https:")

    @property
    def cookie_name(self) -> str:
        """The prefix makes browsers insist on https; on a loopback address there may be none."""
        local = is_loopback_host(urlsplit(self.public_url).hostname)
        return COOKIE if local else f"__Secure-{COOKIE}"

    def has_cookie(self, request: web.Request) -> bool:
        return self.cookie_name in request.cookies

    def cookie(self, request: web.Request) -> str | None:
        """The refresh token in the request's cookie. Raises OriginError if the page may not use it."""
        text = request.cookies.get(self.cookie_name)
        if text is not None:
            self.require_origin(request)
        return text

    def require_origin(self, request: web.Request) -> None:
        """Raises OriginError unless the request comes from an allowed page: a cookie is sent for any page."""
        if hdrs.ORIGIN in request.headers:
            allowed = origin_of(request) in self.origins
        else:
            allowed = request.headers.getall("Sec-Fetch-Site", []) == ["same-origin"]
        if not allowed:
            raise OriginError

    def set_cookie(self, response: web.Response, refresh_token: str, *, until: datetime) -> None:
        left = until - datetime.now(UTC)
        response.set_cookie(
            self.cookie_name,
            refresh_token,
            max_age=max(0, round(left.total_seconds())),
            path=COOKIE_PATH,
            secure=self.is_https,
            httponly=True,
            samesite="Strict",
        )

    def clear_cookie(self, response: web.Response) -> None:
        self.set_cookie(response, "", until=datetime.now(UTC))

    async def add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Have browsers come by https only, where that is how we are reached."""
        if self.is_https:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
