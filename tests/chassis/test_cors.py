"""Which pages may call and read: those of the given origins, and nobody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import hdrs, web
from multidict import CIMultiDict

from chassis.cors import allow_origins
from chassis.http import ApiError
from tests.chassis.client import app_of, client

PAGE = "https://app.example.org"
STRANGERS = ["https://evil.example.org", f"{PAGE}.evil.org", f"{PAGE}:8443", PAGE.upper(), "null", "*", ""]


async def answer(_request: web.Request) -> web.Response:
    return web.Response(text="read")


async def refuse(_request: web.Request) -> web.Response:
    raise ApiError(429, "later", "Later.", headers={"Retry-After": "5"})


async def publish(_request: web.Request) -> web.Response:
    return web.Response(text="for all", headers={hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"})


@asynccontextmanager
async def site(*, credentials: bool = False) -> AsyncIterator[aiohttp.ClientSession]:
    routes = [web.get("/read", answer), web.post("/read", answer), web.post("/refuse", refuse)]
    app = app_of(*routes, web.get("/public", publish))
    allow_origins(app, {PAGE, "https://other.example.org"}, credentials=credentials)
    async with client(app) as session:
        yield session


def granted(response: aiohttp.ClientResponse) -> dict[str, str]:
    start = "Access-Control-"
    return {
        name.removeprefix(start): text for name, text in response.headers.items() if name.startswith(start)
    }


async def test_an_allowed_page_may_ask_what_the_path_takes() -> None:
    async with site() as session:
        for path, methods in (("/read", "GET, HEAD, POST"), ("/refuse", "POST")):
            async with session.options(path, headers={"Origin": PAGE}) as response:
                assert response.status == 204
                assert granted(response) == {
                    "Allow-Origin": PAGE,
                    "Allow-Methods": methods,
                    "Allow-Headers": "Authorization, Content-Type, Last-Event-ID, X-Request-Id",
                    "Expose-Headers": "Retry-After, X-Request-Id",
                    "Max-Age": "600",
                }


@pytest.mark.parametrize(("method", "path"), [("GET", "/read"), ("POST", "/refuse"), ("GET", "/nowhere")])
async def test_an_allowed_page_may_read_every_answer_and_only_it(method: str, path: str) -> None:
    async with site() as session:
        async with session.request(method, path, headers={"Origin": PAGE}) as response:
            assert granted(response) == {
                "Allow-Origin": PAGE,
                "Expose-Headers": "Retry-After, X-Request-Id",
            }
        for headers in ({}, *({"Origin": origin} for origin in STRANGERS)):
            async with session.request(method, path, headers=headers) as response:
                assert granted(response) == {}
                assert response.headers["Vary"] == "Origin"  # for who keeps the answer


@pytest.mark.parametrize("origin", STRANGERS)
async def test_another_page_may_not_even_ask(origin: str) -> None:
    async with site() as session, session.options("/read", headers={"Origin": origin}) as response:
        assert (response.status, (await response.json())["code"]) == (403, "origin_not_allowed")
        assert granted(response) == {}


async def test_who_names_two_origins_has_none() -> None:
    both = CIMultiDict([("Origin", PAGE), ("Origin", PAGE)])
    async with site() as session, session.options("/read", headers=both) as response:
        assert (response.status, granted(response)) == (403, {})


async def test_cookies_come_along_only_where_they_are_asked_for() -> None:
    async with site(credentials=True) as session, session.get("/read", headers={"Origin": PAGE}) as response:
        assert granted(response)["Allow-Credentials"] == "true"


async def test_what_everybody_may_read_stays_so() -> None:
    async with (
        site(credentials=True) as session,
        session.get("/public", headers={"Origin": PAGE}) as response,
    ):
        assert granted(response) == {"Allow-Origin": "*"}
        assert "Vary" not in response.headers
