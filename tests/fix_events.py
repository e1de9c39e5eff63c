"""The event service in this process on a real database, a client of its streams, and people's rows.

`rows` changes requests as their owner or a worker would; `events` is a running service;
`events.stream(person)` is a client that parses server-sent events as the HTML standard has it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import aiohttp
import pytest
from psycopg import Connection

from chassis.service import Lifecycle
from listener.events import service
from listener.events.settings import EventsSettings
from tests.fix_postgres import Database, free_port
from tests.fix_tokens import Person, Tokens

PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Frame:
    """One block of a stream. `event` is "" where there was no data to dispatch."""

    event: str
    id: str | None
    data: Any
    retry: int | None


@dataclass(eq=False)
class Client:
    """Reads one response. `last_id` is what a browser would send when it comes back."""

    response: aiohttp.ClientResponse
    last_id: str = ""
    frames: list[Frame] = field(default_factory=list)

    async def next(self, *events: str) -> Frame:
        """The next frame, or the next one of these events; frames before it are passed over."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                frame = await self._read()
                if not events or frame.event in events:
                    return frame

    async def row(self, request: UUID, state: str) -> Frame:
        """The change that shows the request in that state."""
        while True:
            frame = await self.next("change")
            if frame.data["id"] == str(request) and frame.data["row"]["state"] == state:
                return frame

    async def text(self, request: UUID, length: int) -> str:
        """Partial text put together until it has that length."""
        text, epoch = "", 0
        while len(text) < length:
            data = (await self.next("partial")).data
            if data["id"] == str(request):
                text = text[: data["from"]] if data["epoch"] == epoch else ""
                assert len(text) == data["from"]
                text, epoch = text + data["text"], data["epoch"]
        return text

    async def rest(self) -> list[Frame]:
        """Everything up to the end, which is awaited."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            frames = []
            while not self.response.content.at_eof():
                try:
                    frames.append(await self._read())
                except EOFError:
                    break
            return frames

    async def _read(self) -> Frame:
        lines: list[tuple[str, str]] = []
        while (line := await self.response.content.readline()).strip(b"\r\n"):
            name, _, value = line.decode().rstrip("\n").partition(":")
            lines.append((name, value.removeprefix(" ")))
        if not line:
            raise EOFError("the stream has ended")
        return self._frame(lines)

    def _frame(self, lines: list[tuple[str, str]]) -> Frame:
        given = dict(lines)
        self.last_id = given.get("id", self.last_id)
        data = "\n".join(value for name, value in lines if name == "data")
        frame = Frame(
            given.get("event", "message") if "data" in given else "",
            given.get("id"),
            json.loads(data) if data else None,
            int(given["retry"]) if "retry" in given else None,
        )
        self.frames.append(frame)
        return frame


@dataclass
class Service:
    """A running `listener events`."""

    url: str
    admin_url: str
    lifecycle: Lifecycle
    http: aiohttp.ClientSession

    @asynccontextmanager
    async def stream(
        self, person: Person | None = None, *, resume: str = "", exp: int | None = None, **query: str
    ) -> AsyncIterator[Client]:
        """A stream by token, or without a person by the ticket in the query; past its `retry`."""
        headers = person.headers(**({"exp": exp} if exp else {})) if person else {}
        if resume:
            headers["Last-Event-ID"] = resume
        async with self.http.get(f"{self.url}/events", params=query, headers=headers) as response:
            assert response.status == 200, await response.text()
            client = Client(response)
            assert (await client.next()).retry
            yield client

    async def ticket(self, person: Person) -> str:
        async with self.http.post(f"{self.url}/events/ticket", headers=person.headers()) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["ticket"])

    async def refusal(self, headers: dict[str, str] | None = None, **query: str) -> tuple[int, str]:
        """Status and code of a stream that is not opened."""
        async with self.http.get(f"{self.url}/events", params=query, headers=headers) as response:
            return response.status, (await response.json())["code"]

    async def metric(self, name: str) -> float:
        async with self.http.get(f"{self.admin_url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.partition("{")[0].split()[0:1] == [name])


class _Lifecycle(Lifecycle):
    def __init__(self) -> None:
        super().__init__()
        self.url: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def ready(self, status: str = "") -> None:
        self.url.set_result(status.rpartition(" ")[2])


@asynccontextmanager
async def running(database: Database, **changed: Any) -> AsyncIterator[Service]:
    """The service with these settings; at the end it stops as it would by SIGTERM."""
    admin = f"127.0.0.1:{free_port()}"
    settings: dict[str, Any] = {
        "log_level": "info", "log_format": "json", "database_url": database.url("listener_events"),
        "listen": "127.0.0.1:0", "admin_listen": admin, "allowed_origins": (), "streams_per_account": 10,
        "streams_max": 100, "stream_max_seconds": 900,
    }  # fmt: skip
    lifecycle = _Lifecycle()
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        group.create_task(service.main(lifecycle, EventsSettings(**settings | changed)))
        try:
            yield Service(await lifecycle.url, f"http://{admin}", lifecycle, http)
        finally:
            lifecycle.stopping.set()


class Rows:
    """Requests of people, changed as PostgREST and a worker would change them."""

    def __init__(self, database: Database, connection: Connection[Any]) -> None:
        self.database = database
        self._connection = connection
        self.execute("select private.add_model('tiny')")
        self.execute("update private.model set is_default = true")

    def insert(self, person: Person, **columns: Any) -> UUID:
        with self._connection.transaction():
            return insert_as(self._connection, person, **columns)

    def delete(self, person: Person, request: UUID) -> None:
        with self._connection.transaction():
            become(self._connection, person)
            self._connection.execute("delete from public.requests where id = %s", [request])

    def start(self, request: UUID) -> int:
        """A worker claims it. Returns the epoch."""
        [[epoch]] = self.execute(
            "update private.job set state = 'running', worker_id = 1, epoch = epoch + 1 where request_id = %s"
            " returning epoch",
            request,
        )
        return int(epoch)

    def release(self, request: UUID) -> None:
        self.execute(
            "update private.job set state = 'ready', worker_id = null where request_id = %s", request
        )

    def finish(self, request: UUID, body: str) -> None:
        with self._connection.transaction():
            self.execute(
                "insert into private.result (request_id, owner, epoch, body)"
                " select request_id, owner, epoch, %s from private.job where request_id = %s",
                body, request,
            )  # fmt: skip
            self.execute(
                "update private.job set state = 'done', worker_id = null, finished_at = now()"
                " where request_id = %s",
                request,
            )
            self.execute("delete from private.partial where request_id = %s", request)

    def append(self, request: UUID, epoch: int, n: int, text: str) -> None:
        """A piece of partial text, as the worker writes and rings it."""
        self.execute(
            "with piece as (insert into private.partial (request_id, epoch, n, owner, text)"
            " select id, %s, %s, owner, %s from private.request where id = %s returning *)"
            " select pg_notify('precis_partial', concat_ws(':', owner, request_id, epoch, n)) from piece",
            epoch, n, text, request,
        )  # fmt: skip

    def execute(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


def become(connection: Connection[Any], person: Person) -> None:
    """For the rest of the transaction the connection is that person's, as PostgREST would have it."""
    claims = json.dumps(person.claims())
    connection.execute("select set_config('role', 'pgrest_auth', true)")
    connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])


def insert_as(connection: Connection[Any], person: Person, **columns: Any) -> UUID:
    become(connection, person)
    row = {"task": "summarize", "text": "Some text."} | columns
    cursor = connection.execute(
        "insert into public.requests (task, text, title) values (%s, %s, %s) returning id",
        [row["task"], row["text"], row.get("title")],
    )
    [[request]] = cursor.fetchall()
    return UUID(str(request))


@pytest.fixture
def rows(database: Database, tokens: Tokens) -> Iterator[Rows]:
    with database.connect() as connection:
        yield Rows(database, connection)


@pytest.fixture
async def events(database: Database, tokens: Tokens) -> AsyncIterator[Service]:
    async with running(database) as service:
        yield service
