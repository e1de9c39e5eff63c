"""authsvc on a free port and a real database, and a client that comes from a new address with each request.

`service` has the cheapest hashes; `running(database, ...)` starts one with other settings, `running_process`
one in a process of its own.
"""

import asyncio
import itertools
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import psycopg
import pytest

from authsvc import app
from authsvc.settings import Settings
from chassis.service import Lifecycle
from chassis.settings import load
from tests.fix_postgres import Database, free_port

GOOD_PASSWORD = "velvet harbour quiet nine"
MASTER_KEY = "Zk9Xw2bN8rT5yU1iO4pA7sD0fG3hJ6kLqWeRtYuIoPM"

PROGRAM = [sys.executable, "-m", "authsvc"]

_hosts = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """A response, read to its end. `json` is None without a body."""

    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        return str(self.json["code"])

    @property
    def claims(self) -> dict[str, Any]:
        token = self.json["access_token"]
        return dict(jwt.decode(token, options={"verify_signature": False}))


@dataclass(frozen=True)
class Service:
    """A running authsvc."""

    settings: Settings
    database: Database
    http: aiohttp.ClientSession
    lifecycle: Lifecycle

    @property
    def url(self) -> str:
        return f"http://{self.settings.listen}"

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """POST a JSON body. Header names are written with underscores; None sends none."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"X-Forwarded-For": new_address()} | given
        async with self.http.post(
            f"{self.url}{path}", json={} if body is None else body, headers=given
        ) as response:
            return await read(response)

    async def get(self, path: str, **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.get(f"{self.url}{path}", headers=given) as response:
            return await read(response)

    async def read(self, path: str) -> bytes:
        """The body, byte for byte."""
        async with self.http.get(f"{self.url}{path}") as response:
            return await response.read()

    async def register(self, email: str | None = None, password: str = GOOD_PASSWORD, **more: Any) -> Answer:
        return await self.post(
            "/auth/register", {"email": email or new_email(), "password": password, **more}
        )

    async def log_in(self, email: str, password: str = GOOD_PASSWORD, **headers: str) -> Answer:
        return await self.post("/auth/login", {"email": email, "password": password}, **headers)

    async def refresh(self, refresh_token: str) -> Answer:
        return await self.post("/auth/refresh", {"refresh_token": refresh_token})

    async def ready(self) -> Answer:
        async with self.http.get(f"http://{self.settings.admin_listen}/readyz") as response:
            return await read(response)

    async def metrics(self) -> str:
        async with self.http.get(f"http://{self.settings.admin_listen}/metrics") as response:
            return await response.text()

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """As the superuser, past row security."""
        with psycopg.connect(self.database.url(), autocommit=True) as connection:
            cursor = connection.execute(sql, arguments)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    async def until(self, sql: str, *arguments: object) -> tuple[Any, ...]:
        """Wait until the query finds a row."""
        async with asyncio.timeout(20):
            while not (rows := await asyncio.to_thread(self.query, sql, *arguments)):
                await asyncio.sleep(0.02)
        return rows[0]


async def read(response: aiohttp.ClientResponse) -> Answer:
    body = await response.read()
    is_json = body and response.content_type == "application/json"
    return Answer(response.status, await response.json() if is_json else None, response.headers)


def new_email() -> str:
    return f"{secrets.token_hex(8)}@example.com"


def new_address() -> str:
    number = next(_hosts)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def settings(database: Database, folder: Path, **changed: object) -> Settings:
    """Settings for a test; `changed` as in the [authsvc] section, lists separated by commas."""
    listen = f"127.0.0.1:{free_port()}"
    given = {
        "database_url": database.url("authsvc"),
        "listen": listen,
        "public_url": f"http://{listen}",
        "admin_listen": f"127.0.0.1:{free_port()}",
        "master_key": MASTER_KEY,
        "bcrypt_cost": 4,
        "bcrypt_threads": 4,
        "trusted_proxies": "127.0.0.1",
        **changed,
    }
    config = folder / "empty.toml"
    config.touch()
    environ = {f"PRECIS_AUTHSVC_{name.upper()}": str(value) for name, value in given.items()}
    return load(Settings, environ={"PRECIS_CONFIG": str(config), **environ})


@asynccontextmanager
async def running(database: Database, folder: Path, **changed: object) -> AsyncIterator[Service]:
    """authsvc in this process, ready; stopped like by SIGTERM."""
    chosen = settings(database, folder, **changed)
    lifecycle = _Lifecycle()
    task = asyncio.create_task(app.main(lifecycle, chosen))
    started = asyncio.create_task(lifecycle.is_ready.wait())
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    if task.done():
        task.result()
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            yield Service(chosen, database, http, lifecycle)
    finally:
        lifecycle.stopping.set()
        await task


def environment(chosen: Settings, folder: Path) -> dict[str, str]:
    names = (
        "database_url",
        "listen",
        "public_url",
        "admin_listen",
        "master_key",
        "bcrypt_cost",
        "bcrypt_threads",
    )
    given = {f"PRECIS_AUTHSVC_{name.upper()}": str(getattr(chosen, name)) for name in names}
    given["PRECIS_AUTHSVC_TRUSTED_PROXIES"] = ",".join(chosen.trusted_proxies)
    return {**os.environ, "PRECIS_CONFIG": str(folder / "empty.toml"), "PRECIS_LOG_LEVEL": "debug", **given}


@contextmanager
def serving(chosen: Settings, folder: Path) -> Iterator[Path]:
    """The process, ready; yields its log. Stopped by SIGTERM on the way out, and it must leave well."""
    log = folder / "authsvc.log"
    with log.open("wb") as output:
        process = subprocess.Popen(PROGRAM, env=environment(chosen, folder), stdout=output, stderr=output)
    try:
        wait_ready(chosen, process)
        yield log
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()


def wait_ready(chosen: Settings, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{chosen.admin_listen}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("not ready")


@asynccontextmanager
async def running_process(database: Database, folder: Path, **changed: object) -> AsyncIterator[Service]:
    """authsvc as a process of its own, where the test's client must not be in its way."""
    chosen = settings(database, folder, **changed)
    with serving(chosen, folder):
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            yield Service(chosen, database, http, Lifecycle())


@pytest.fixture(autouse=True)
def stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client of these tests sends anything while the service stops; chassis tests the linger."""
    monkeypatch.setattr("chassis.serving.LINGER_SECONDS", 0.0)


@pytest.fixture
async def service(database: Database, tmp_path: Path) -> AsyncIterator[Service]:
    async with running(database, tmp_path) as started:
        yield started


class _Lifecycle(Lifecycle):
    """Tells the test as well."""

    def __init__(self) -> None:
        super().__init__()
        self.is_ready = asyncio.Event()

    def ready(self, status: str = "") -> None:
        super().ready(status)
        self.is_ready.set()
