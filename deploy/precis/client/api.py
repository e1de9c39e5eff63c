"""The service as a client sees it: signs in at authsvc, writes and reads rows through PostgREST. Knows
addresses and an account, nothing of how the parts are run."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from chassis.backoff import Backoff
from precis.faults import NotRunning, RequestFailed

Row = dict[str, Any]
HTTP_SECONDS = 30.0
RETRIES = 6
RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS = 0.2, 5.0
EXPIRY_MARGIN_SECONDS = 30
UNAUTHORIZED = 401
COLUMNS = "id,task,state,progress,result,checks,engine,model,error_code,error_message,updated_at"


@dataclass(frozen=True, slots=True)
class Addresses:
    rest: str
    auth: str
    events: str


@dataclass(frozen=True, slots=True)
class Account:
    email: str
    password: str


@contextlib.asynccontextmanager
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HTTP_SECONDS)) as http:
        yield http


class Client:
    def __init__(self, session: aiohttp.ClientSession, addresses: Addresses, account: Account) -> None:
        self.session = session
        self.addresses = addresses
        self.account = account
        self._token = ""
        self._expires = 0.0

    async def sign_in(self, path: Literal["login", "register"] = "login") -> None:
        """Raises RequestFailed with authsvc's code, NotRunning if nothing answers."""
        body = {"email": self.account.email, "password": self.account.password}
        url = f"{self.addresses.auth}/auth/{path}"
        answer = await self._call("POST", url, json=body)
        try:
            self._token = str(answer["access_token"])
            self._expires = time.monotonic() + answer["expires_in"] - EXPIRY_MARGIN_SECONDS
        except (TypeError, KeyError):
            raise _not_precis(url) from None

    async def authorization(self) -> dict[str, str]:
        """The header that every call needs; signs in again before the token expires."""
        if time.monotonic() >= self._expires:
            await self.sign_in()
        return {"Authorization": f"Bearer {self._token}"}

    async def submit(self, request: Row) -> Row:
        """Inserts one row and returns it as it was stored. Sent again after a lost answer, it is the same
        row."""
        headers = {"Prefer": "return=representation", "Idempotency-Key": str(uuid.uuid4())}
        rows: list[Row] = await self._rest("POST", "requests", json=request, headers=headers)
        return rows[0]

    async def fetch(self, ids: set[str]) -> list[Row]:
        rows: list[Row] = await self._rest(
            "GET", f"requests?id=in.({','.join(sorted(ids))})&select={COLUMNS}"
        )
        return rows

    async def partials(self, ids: set[str]) -> list[Row]:
        rows: list[Row] = await self._rest("GET", f"partials?request_id=in.({','.join(sorted(ids))})")
        return rows

    async def models(self) -> list[Row]:
        rows: list[Row] = await self._rest("GET", "models?order=name")
        return rows

    async def cancel(self, request_id: str) -> None:
        await self._rest("POST", "rpc/cancel", json={"id": request_id})

    async def _rest(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, json: Any = None
    ) -> Any:
        """Signs in once more where the session has ended meanwhile."""
        url = f"{self.addresses.rest}/{path}"
        for last in (False, True):
            sent = {**await self.authorization(), **(headers or {})}
            try:
                content = await self._call(method, url, headers=sent, json=json)
                break
            except RequestFailed as error:
                if last or error.status != UNAUTHORIZED:
                    raise
                self._expires = 0.0
        if content is not None and not isinstance(content, list):
            raise _not_precis(url)
        return content

    async def _call(self, method: str, url: str, **options: Any) -> Any:
        """What may pass by itself (a failover, a restart) is tried again, with jitter, a few times."""
        delays = Backoff(base=RETRY_FIRST_SECONDS, cap=RETRY_MOST_SECONDS)
        for attempt in range(RETRIES):
            last = attempt == RETRIES - 1
            try:
                async with self.session.request(method, url, **options) as answer:
                    content = await _content(answer)
                    if answer.ok:
                        return content
                    if last or not _is_passing(answer.status, content):
                        raise _refused(answer.status, content)
            except (aiohttp.ClientError, TimeoutError) as error:
                if last or (isinstance(error, aiohttp.ClientConnectorError) and not self._token):
                    raise NotRunning(
                        "not_running",
                        f"Nothing answers at {url.split('?')[0]}. Start the service with `make up`.",
                    ) from error
            await asyncio.sleep(delays.next())
        raise AssertionError


def _not_precis(url: str) -> RequestFailed:
    message = f"What answers at {url.split('?')[0]} is not Precis. See `precis status`."
    return RequestFailed("not_precis", message)


async def _content(answer: aiohttp.ClientResponse) -> Any:
    try:
        return await answer.json(content_type=None)
    except ValueError:
        return None


def _is_passing(status: int, content: Any) -> bool:
    # 400 with an empty code is what PostgREST answers when Postgres goes down under a request.
    return status in (502, 503, 504) or (
        status == 400 and isinstance(content, dict) and content.get("code") == ""
    )


def _refused(status: int, content: Any) -> RequestFailed:
    if isinstance(content, dict) and content.get("code"):
        hint = f" {content['hint']}" if content.get("hint") else ""
        return RequestFailed(str(content["code"]), f"{content.get('message')}{hint}", status=status)
    return RequestFailed("http_error", f"The service answered HTTP {status}.", status=status)
