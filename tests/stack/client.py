"""A person at the outside: signs in at authsvc, speaks to PostgREST, holds an event stream open.

Knows only what design section 7 promises to outsiders.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

FINAL = ("done", "failed", "cancelled")
PATIENCE_SECONDS = 20.0
LOOK_AGAIN_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text) if self.text else None

    @property
    def code(self) -> str:
        """The stable code of an error."""
        return str(self.json["code"])


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    id: str | None
    data: Any
    at: float  # time.monotonic()

    @property
    def row(self) -> dict[str, Any]:
        return dict(self.data.get("row") or {}) if isinstance(self.data, dict) else {}

    def is_about(self, request: str) -> bool:
        return isinstance(self.data, dict) and self.data.get("id") == request


@dataclass
class EventStream:
    """An open stream. `seen` keeps what came, in order; `cursor` is the last id, as a browser keeps it."""

    response: aiohttp.ClientResponse
    seen: list[Event] = field(default_factory=list)
    cursor: str | None = None

    async def next(self) -> Event:
        """The next frame; comments and `retry:` are none. Raises EOFError where the server has hung up."""
        fields: dict[str, str] = {}
        while raw := await self.response.content.readline():
            if line := raw.decode().rstrip("\r\n"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            elif fields.keys() & {"id", "event", "data"}:
                return self._take(fields)
            else:
                fields = {}
        raise EOFError("the server closed the stream")

    def _take(self, fields: dict[str, str]) -> Event:
        self.cursor = fields.get("id", self.cursor)
        data = json.loads(fields["data"]) if fields.get("data") else None
        event = Event(fields.get("event", ""), fields.get("id"), data, time.monotonic())
        self.seen.append(event)
        return event

    async def until(self, wanted: Callable[[Event], bool], *, within: float = PATIENCE_SECONDS) -> Event:
        async with asyncio.timeout(within):
            while not wanted(event := await self.next()):
                pass
            return event

    async def state(self, request: str, *states: str, within: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Reads on until the request is in one of these states; its row as the event carried it."""

        def reached(event: Event) -> bool:
            return event.is_about(request) and event.row.get("state") in states

        return (await self.until(reached, within=within)).row

    async def closed(self, *, within: float = PATIENCE_SECONDS) -> None:
        """Reads on until the server ends the stream."""
        async with asyncio.timeout(within):
            try:
                while True:
                    await self.next()
            except (EOFError, aiohttp.ClientError):
                return


@dataclass
class Client:
    """Somebody with or without a token."""

    http: aiohttp.ClientSession
    rest_url: str
    auth_url: str
    events_url: str
    tokens: dict[str, Any] = field(default_factory=dict)
    email: str = ""
    password: str = ""

    @property
    def token(self) -> str | None:
        return self.tokens.get("access_token")

    async def call(self, method: str, url: str, *, token: str | None = None, **options: Any) -> Answer:
        headers = dict(options.pop("headers", {}))
        if bearer := token or self.token:
            headers.setdefault("Authorization", f"Bearer {bearer}")
        async with self.http.request(method, url, headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.text())

    async def rest(self, method: str, path: str, **options: Any) -> Answer:
        return await self.call(method, self.rest_url + path, **options)

    async def auth(self, method: str, path: str, **options: Any) -> Answer:
        return await self.call(method, self.auth_url + path, **options)

    async def insert(self, text: str, *, task: str = "summarize", **fields: Any) -> dict[str, Any]:
        headers = {"Prefer": "return=representation"} | fields.pop("headers", {})
        body = {"task": task, "text": text, **fields}
        answer = await self.rest("POST", "/requests", json=body, headers=headers)
        assert answer.status == 202, answer
        return dict(answer.json[0])

    async def row(self, request: str) -> dict[str, Any] | None:
        answer = await self.rest("GET", f"/requests?id=eq.{request}")
        assert answer.status == 200, answer
        return dict(answer.json[0]) if answer.json else None

    async def partial(self, request: str) -> str:
        """The text so far, for those without a stream."""
        answer = await self.rest("GET", f"/partials?request_id=eq.{request}")
        return str(answer.json[0]["text"]) if answer.status == 200 and answer.json else ""

    async def cancel(self, request: str) -> Answer:
        return await self.rest("POST", "/rpc/cancel", json={"id": request})

    async def until(self, request: str, *states: str, within: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Polls the row until it is in one of these states, as a client without a stream would."""
        row: dict[str, Any] | None = None
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            answer = await self.try_rest(f"/requests?id=eq.{request}")
            row = answer.json[0] if answer and answer.status == 200 and answer.json else row
            if row and row["state"] in states:
                return dict(row)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        raise AssertionError(f"not {states} within {within} s: {row}")

    async def try_rest(self, path: str) -> Answer | None:
        """None where nobody listens: for tests that take PostgREST away."""
        try:
            return await self.rest("GET", path)
        except aiohttp.ClientError:
            return None

    @asynccontextmanager
    async def watch(self, *, cursor: str | None = None, **params: str) -> AsyncIterator[EventStream]:
        """An open stream; entered when the server has told the cursor, so that nothing later is missed."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream"}
        if cursor:
            headers["Last-Event-ID"] = cursor
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with self.http.get(
            f"{self.events_url}/events", headers=headers, params=params, timeout=timeout
        ) as response:
            assert response.status == 200, (response.status, await response.text())
            stream = EventStream(response)
            await stream.until(lambda event: event.id is not None)
            yield stream


TOWNS = ["Aarhus", "Bergen", "Coimbra", "Dresden", "Evora", "Ferrara", "Ghent", "Haarlem", "Ivrea", "Jena"]
GOODS = (
    "barrels of salt",
    "rolls of linen",
    "crates of glass",
    "sacks of barley",
    "casks of oil",
    "reels of rope",
)
DEEDS = ("left the harbour of", "were counted in", "never reached", "were sold in", "came back from")


def story(sentences: int, mark: str = "") -> str:
    """A text of that many sentences, no two alike, with names and numbers. `mark` stands in the first."""
    told = [f"The ledger {mark} of the river company was opened in March."] if mark else []
    for n in range(len(told), sentences):
        what = f"{12 + 7 * n} {GOODS[n % 6]} {DEEDS[n % 5]} {TOWNS[n % 10]}"
        told.append(f"On day {n + 1} of the year {1701 + n}, {what} for {3 + n} silver coins each.")
    return " ".join(told)
