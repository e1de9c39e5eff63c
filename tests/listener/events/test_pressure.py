"""Slow clients, vanished clients, and stopping: bounded memory, nobody else's latency, no loss."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest

from tests.fix_events import PATIENCE_SECONDS, Rows, Service, running
from tests.fix_postgres import Database
from tests.fix_tokens import Person, Tokens

pytestmark = pytest.mark.services

BIG = "word " * 40_000


async def test_a_client_that_never_reads_is_closed_and_holds_up_nobody(
    database: Database, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.stream.SLOW_SECONDS", 1.0)
    ann = tokens.person()
    async with (
        running(database) as events,
        events.stream(ann) as reader,
        silent_client(events, ann) as silent,
    ):
        closed_slow = await events.metric("precis_events_closes_total")
        for _ in range(25):
            request = rows.insert(ann)
            rows.start(request)
            rows.finish(request, BIG)
            await reader.row(request, "done")
            assert await events.metric("precis_events_queue_bytes") < 3 * 256 * 1024
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await events.metric("precis_events_closes_total") == closed_slow:
                pass
            with contextlib.suppress(ConnectionError):
                while await asyncio.get_running_loop().sock_recv(silent, 65536):
                    pass


async def test_a_client_that_reads_slowly_gets_to_the_same_rows(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    async with events.stream(ann) as quick, silent_client(events, ann) as slow:
        requests = [rows.insert(ann) for _ in range(12)]
        for request in requests:
            rows.start(request)
            rows.finish(request, BIG)
        for request in requests:
            await quick.row(request, "done")
        text = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while text.count(b'"state":"done"') < 12:
                text += await asyncio.get_running_loop().sock_recv(slow, 1 << 20)
        numbers = [int(line.rpartition(b".")[2]) for line in text.split(b"\n") if line.startswith(b"id: ")]
        assert numbers == sorted(numbers)


async def test_a_client_that_left_gives_its_seat_back_at_once(database: Database, tokens: Tokens) -> None:
    ann = tokens.person()
    async with running(database, streams_per_account=1) as events:
        for _ in range(3):
            async with events.stream(ann):
                pass
            async with asyncio.timeout(3):
                while await events.metric("precis_events_connections"):
                    pass


async def test_a_stop_under_load_says_bye_and_clients_go_on_elsewhere_without_loss(
    database: Database, tokens: Tokens, rows: Rows
) -> None:
    people = [tokens.person() for _ in range(10)]
    async with running(database) as other, AsyncExitStack() as stack:
        async with running(database) as first:
            clients = [await stack.enter_async_context(first.stream(person)) for person in people]
            await stack.enter_async_context(silent_client(first, people[0]))
            requests = {person.account: [rows.insert(person) for _ in range(5)] for person in people}
            first.lifecycle.stopping.set()
            began = time.monotonic()
            for client in clients:
                bye = (await client.rest())[-1]
                assert (bye.event, bye.data, bye.id) == ("bye", {"reason": "shutdown"}, None)
                assert bye.retry
            assert time.monotonic() - began < 5
            for person in people:
                requests[person.account] += [rows.insert(person) for _ in range(5)]
        for person, client in zip(people, clients, strict=True):
            seen = {frame.data["id"] for frame in client.frames if frame.event == "change"}
            async with other.stream(person, resume=client.last_id or "") as resumed:
                while len(seen) < 10:
                    seen.add((await resumed.next("change")).data["id"])
            assert seen == {str(request) for request in requests[person.account]}


async def test_a_stream_has_an_age_limit(database: Database, tokens: Tokens) -> None:
    async with running(database, stream_max_seconds=1) as events, events.stream(tokens.person()) as client:
        began = time.monotonic()
        bye = (await client.rest())[-1]
        assert (bye.event, bye.data) == ("bye", {"reason": "age"})
        assert time.monotonic() - began < 2


async def test_an_idle_stream_has_a_heartbeat(
    database: Database, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.stream.HEARTBEAT_SECONDS", 0.1)
    async with running(database) as events, events.stream(tokens.person()) as client:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(3):
                while await client.response.content.readline() != b":hb\n":
                    pass


@asynccontextmanager
async def silent_client(events: Service, person: Person) -> AsyncIterator[socket.socket]:
    """Opens a stream and reads nothing of it, with little room in the kernel."""
    where = urlsplit(events.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        before = await events.metric("precis_events_connections")
        await loop.sock_connect(connection, (where.hostname or "", where.port or 0))
        headers = f"Host: here\r\nAuthorization: Bearer {person.token()}\r\n"
        await loop.sock_sendall(connection, f"GET /events HTTP/1.1\r\n{headers}\r\n".encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await events.metric("precis_events_connections") <= before:
                pass
        yield connection
