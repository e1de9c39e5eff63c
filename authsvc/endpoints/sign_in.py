"""The HTTP surface: reads requests, calls, writes answers.

Knows no statement and no cryptography.
"""

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiohttp import hdrs, web

from authsvc.accounts import Accounts
from authsvc.callers import Caller, IPNetwork, identify
from authsvc.endpoints import bodies
from authsvc.endpoints.browsers import Browsers, Delivery
from authsvc.errors import RefreshTokenError
from authsvc.keys.ring import KeyRing
from authsvc.sessions import Session, Sessions
from authsvc.tokens import Issuer, Subject
from chassis.http import ApiError, read_json

# Well below the time for which a coming key is published before it signs (keys.py).
JWKS_MAX_AGE_SECONDS = 30
BEARER = "Bearer "


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The handlers and what they call."""

    accounts: Accounts
    sessions: Sessions
    issuer: Issuer
    ring: KeyRing
    browsers: Browsers
    trusted_proxies: tuple[IPNetwork, ...]

    def routes(self) -> list[web.RouteDef]:
        posts = {
            "/auth/register": self.register,
            "/auth/login": self.log_in,
            "/auth/refresh": self.refresh,
            "/auth/logout": self.log_out,
        }
        return [
            *(web.post(path, handler) for path, handler in posts.items()),
            web.get("/.well-known/jwks.json", self.key_set),
        ]

    async def register(self, request: web.Request) -> web.Response:
        """201 with the first session; 409 if there is such an account."""
        given = bodies.Credentials.read(await read_json(request))
        self._require_page(request, given.delivery)
        session = await self.accounts.register(given.email, given.password, self._caller(request))
        return self._answer(session, given.delivery, status=201)

    async def log_in(self, request: web.Request) -> web.Response:
        """200 with a new session. A cookie that came along is not looked at."""
        given = bodies.Credentials.read(await read_json(request))
        self._require_page(request, given.delivery)
        session = await self.accounts.log_in(given.email, given.password, self._caller(request))
        return self._answer(session, given.delivery)

    async def refresh(self, request: web.Request) -> web.Response:
        """200 with a new pair, delivered the way the old token came."""
        given = bodies.Refresh.read(await read_json(request))
        session = await self.sessions.refresh(
            self._refresh_token(request, given.refresh_token), self._caller(request)
        )
        return self._answer(session, "cookie" if given.refresh_token is None else "body")

    async def log_out(self, request: web.Request) -> web.Response:
        """204; ends this session (local), the account's others, or all of them (global)."""
        given = bodies.Logout.read(await read_json(request))
        session_id = self._session_to_end(request, given.refresh_token)
        await self.sessions.end(session_id, given.scope, self._caller(request))
        response = web.Response(status=204)
        if self.browsers.has_cookie(request) and given.scope != "others":
            self.browsers.clear_cookie(response)
        return response

    async def key_set(self, request: web.Request) -> web.Response:
        """The public keys, for whoever verifies our tokens, and nothing more than that needs."""
        document = self.ring.current.document
        etag = hashlib.sha256(document).hexdigest()[:32]
        headers = {
            hdrs.CACHE_CONTROL: f"public, max-age={JWKS_MAX_AGE_SECONDS}",
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
        }
        if any(tag.value in (etag, "*") for tag in request.if_none_match or ()):
            response = web.Response(status=304, headers=headers)
        else:
            response = web.Response(body=document, content_type="application/json", headers=headers)
        response.etag = etag
        return response

    def _answer(self, session: Session, delivery: Delivery, *, status: int = 200) -> web.Response:
        refresh_token = self.sessions.refresh_token(session)
        body: dict[str, Any] = {
            "access_token": self.issuer.issue(_subject(session)),
            "token_type": "bearer",
            "expires_in": self.issuer.lifetime_seconds,
        }
        if delivery == "body":
            body["refresh_token"] = refresh_token
        response = web.json_response(body, status=status)
        if delivery == "cookie":
            self.browsers.set_cookie(response, refresh_token, until=session.ends_at)
        return response

    def _require_page(self, request: web.Request, delivery: Delivery) -> None:
        """A foreign page must not be able to log a browser in to its own account."""
        if delivery == "cookie":
            self.browsers.require_origin(request)

    def _caller(self, request: web.Request) -> Caller:
        return identify(request, self.trusted_proxies)

    def _session_to_end(self, request: web.Request, refresh_token: str | None) -> UUID:
        """The session that a refresh token, else the access token, else the cookie belongs to."""
        bearer = request.headers.get(hdrs.AUTHORIZATION, "")
        if refresh_token is None and bearer.startswith(BEARER):
            try:
                return self.issuer.verify(bearer.removeprefix(BEARER)).session
            except ApiError:  # expired as a rule: the cookie lives longer
                if not self.browsers.has_cookie(request):
                    raise
        return self.sessions.decode(self._refresh_token(request, refresh_token)).session_id

    def _refresh_token(self, request: web.Request, given: str | None) -> str:
        """The one in the body; without any, the one in the cookie."""
        token = self.browsers.cookie(request) if given is None else given
        if token is None:
            raise RefreshTokenError
        return token


def _subject(session: Session) -> Subject:
    return Subject(
        session.account_id, session.id, int(session.authenticated_at.timestamp()), session.amr, session.aal
    )
