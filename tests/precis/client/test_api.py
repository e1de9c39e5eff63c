"""precis.client.api: signing in, and what is tried again."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from precis.client import api as client_module
from precis.client.api import Account, Addresses, Client
from precis.faults import NotRunning, RequestFailed

from chassis.http import application, serve

CUT = -1  # the connection is reset
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """Answers `statuses` in turn to inserts, then 201; remembers what it was sent."""

    def __init__(self, *statuses: int, expires_in: int = 600) -> None:
        self.statuses = list(statuses)
        self.expires_in = expires_in
        self.is_ours = True
        self.keys: list[str] = []
        self.logins = 0

    async def login(self, request: web.Request) -> web.Response:
        self.logins += 1
        if (await request.json())["password"] != "right":
            body = {
                "code": "invalid_credentials",
                "message": "Wrong.",
                "details": None,
                "hint": "Look again.",
            }
            return web.json_response(body, status=401)
        token = {"access_token": f"t{self.logins}", "expires_in": self.expires_in}
        return web.json_response(token if self.is_ours else ["something else"])

    async def insert(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers["Idempotency-Key"])
        status = self.statuses.pop(0) if self.statuses else 201
        if status == CUT:
            assert request.transport
            request.transport.abort()
        if status == 400:
            return web.json_response({"code": "", "message": "terminating connection"}, status=400)
        return web.json_response([{"id": "1"}] if status == 201 else None, status=status)

    @asynccontextmanager
    async def client(self, password: str = "right") -> AsyncIterator[Client]:
        app = application(name="pretended", max_body_bytes=1024)
        app.add_routes([web.post("/auth/login", self.login), web.post("/requests", self.insert)])
        async with serve(app, "127.0.0.1:0", name="pretended") as url, aiohttp.ClientSession() as session:
            yield Client(session, Addresses(url, url, url), Account("demo@example.com", password))


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RETRY_FIRST_SECONDS", 0.001)


async def test_a_row_is_inserted_after_signing_in_once() -> None:
    service = Service()
    async with service.client() as client:
        assert await client.submit({"task": "summarize"}) == {"id": "1"}
        await client.submit({"task": "summarize"})
    assert service.logins == 1
    assert len(set(service.keys)) == 2


async def test_an_outage_is_sat_out_under_the_same_idempotency_key() -> None:
    service = Service(503, 400, 502)
    async with service.client() as client:
        assert await client.submit({}) == {"id": "1"}
    assert len(service.keys) == 4
    assert len(set(service.keys)) == 1


async def test_a_connection_that_was_reset_is_tried_again() -> None:
    service = Service(CUT, CUT)
    async with service.client() as client:
        assert await client.submit({}) == {"id": "1"}
    assert len(set(service.keys)) == 1


async def test_a_session_that_has_ended_is_begun_anew_once() -> None:
    service = Service(401)
    async with service.client() as client:
        assert await client.submit({}) == {"id": "1"}
    assert service.logins == 2
    async with Service(401, 401).client() as client:
        with pytest.raises(RequestFailed, match="HTTP 401"):
            await client.submit({})


async def test_another_program_on_that_port_is_named() -> None:
    service = Service()
    service.is_ours = False
    async with service.client() as client:
        with pytest.raises(RequestFailed, match="is not Precis"):
            await client.submit({})


async def test_an_outage_that_does_not_end_is_a_fault() -> None:
    async with Service(*[503] * 20).client() as client:
        with pytest.raises(RequestFailed, match="HTTP 503"):
            await client.submit({})


async def test_a_refusal_carries_the_services_own_code_and_sentence() -> None:
    async with Service().client("wrong") as client:
        with pytest.raises(RequestFailed, match="Look again") as raised:
            await client.submit({})
    assert (raised.value.code, raised.value.status) == ("invalid_credentials", 401)


async def test_a_token_near_its_end_is_renewed_before_it_is_used() -> None:
    service = Service(expires_in=client_module.EXPIRY_MARGIN_SECONDS)
    async with service.client() as client:
        await client.submit({})
        await client.submit({})
    assert service.logins == 2


async def test_nothing_listening_is_said_at_once_with_what_to_do() -> None:
    async with aiohttp.ClientSession() as session:
        client = Client(session, Addresses(*["http://127.0.0.1:9"] * 3), Account("demo@example.com", "x"))
        with pytest.raises(NotRunning, match="make up"):
            await client.sign_in()
