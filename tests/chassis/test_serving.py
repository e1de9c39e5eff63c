"""Listening and stopping: every kind of address, sockets from systemd, and no request lost at a stop."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from chassis import serving
from chassis.serving import activated_fd, parse_address, serve
from tests.chassis.client import app_of, dialogue

SERVICE = """
import asyncio, sys
from aiohttp import web
from structlog.testing import capture_logs
from chassis.http import application, serve
from chassis.service import run
async def answer(request):
    await asyncio.sleep(0.01)
    return web.json_response({"ok": True})
async def main(lifecycle):
    app = application(name="part", max_body_bytes=1024)
    app.add_routes([web.get("/", answer)])
    async with serve(app, "127.0.0.1:1", name="part"):
        lifecycle.ready()
        await lifecycle.stopping.wait()
sys.exit(run(main))
"""

HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "part"}
os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])
"""


async def fine(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="precis-") as path:
        yield Path(path)


@asynccontextmanager
async def over_unix(path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        yield session


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:8080", ("::1", 8080)),
        ("unix:/run/x.sock", "/run/x.sock"),
    ],
)
def test_an_address_is_host_and_port_or_a_path(address: str, parsed: Any) -> None:
    assert parse_address(address) == parsed


@pytest.mark.parametrize(
    "address",
    ["", "8080", ":8080", "host", "host:", "host:65536", "::1:80", "unix:", "unix:x", "http://h:1", "h: 1"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="write host:port or unix:/path"):
        parse_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
async def test_a_free_port_is_told_and_answers(address: str) -> None:
    async with (
        serve(app_of(web.get("/", fine)), address, name="x") as url,
        aiohttp.ClientSession() as session,
        session.get(url) as answer,
    ):
        assert await answer.json() == {"ok": True}


async def test_a_path_is_served_even_if_a_dead_process_left_its_socket_there(folder: Path) -> None:
    path = folder / "s"
    for _ in range(2):
        async with (
            serve(app_of(web.get("/", fine)), f"unix:{path}", name="x") as where,
            over_unix(path) as session,
        ):
            assert where == f"unix:{path}"
            async with session.get("http://x/") as answer:
                assert answer.status == 200


async def test_a_file_that_is_no_socket_is_not_replaced(folder: Path) -> None:
    (folder / "s").write_text("precious")
    with pytest.raises(OSError):
        async with serve(app_of(), f"unix:{folder / 's'}", name="x"):
            pass
    assert (folder / "s").read_text() == "precious"


async def test_an_address_in_use_is_an_error_at_once() -> None:
    async with serve(app_of(), "127.0.0.1:0", name="x") as url:
        with pytest.raises(OSError):
            async with serve(app_of(), url.removeprefix("http://"), name="x"):
                pass


def test_an_activated_socket_is_found_by_its_name_if_it_is_meant_for_us() -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "auth:admin:more"}
    assert [activated_fd(name, environ) for name in ("auth", "admin", "more", "x")] == [3, 4, None, None]
    assert activated_fd("auth", environ | {"LISTEN_PID": "1"}) is None
    assert activated_fd("auth", {}) is None


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + b"x" * 60_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_in_our_shape_and_told_in_one_quiet_line(sent: bytes) -> None:
    with capture_logs() as lines:
        async with serve(app_of(web.get("/", fine)), "127.0.0.1:0", name="test") as url:
            answer = await asyncio.wait_for(dialogue(url, sent), 20)
    assert answer.split()[1] == b"400"
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed_request"
    assert [line["log_level"] for line in lines if line["event"] == "http.malformed"] == ["info"]


async def test_a_request_in_flight_at_the_stop_gets_its_answer_and_hears_that_it_was_the_last() -> None:
    called, go_on = asyncio.Event(), asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        called.set()
        await go_on.wait()
        return web.Response(text="done")

    async def ask(url: str) -> tuple[str, str | None]:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text(), answer.headers.get("Connection")

    serving_app = serve(app_of(web.get("/", handler)), "127.0.0.1:0", name="x")
    async with asyncio.TaskGroup() as group, serving_app as url:
        asking = group.create_task(ask(url))
        await called.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert asking.result() == ("done", "close")


async def test_a_kept_alive_connection_gets_its_last_request_answered_during_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "LINGER_SECONDS", 10.0)
    serving_app = serve(app_of(web.get("/", fine)), "127.0.0.1:0", name="x")
    async with asyncio.TaskGroup() as group, aiohttp.ClientSession() as session, serving_app as url:
        async with session.get(url) as first:
            assert "Connection" not in first.headers
        asyncio.get_running_loop().call_soon(lambda: group.create_task(last_request(session, url)))


async def last_request(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(url) as answer:
        assert (answer.status, answer.headers["Connection"]) == (200, "close")


async def test_a_handler_that_never_ends_does_not_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HANDLERS_SECONDS", 0.05)
    monkeypatch.setattr(serving, "LINGER_SECONDS", 0.05)
    called, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        called.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return web.Response()

    async with asyncio.TaskGroup() as group:
        async with serve(app_of(web.get("/", handler)), "127.0.0.1:0", name="x") as url:
            asking = group.create_task(refused(url))
            await called.wait()
        assert cancelled.is_set()
    assert asking.result()


async def refused(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url):
            return False
    except aiohttp.ClientError:
        return True


@contextmanager
def activated(listening: socket.socket) -> Iterator["subprocess.Popen[str]"]:
    """A service that is handed `listening` as systemd does it, once it serves."""
    handed = os.dup(listening.fileno())
    command = [sys.executable, "-c", HAND_OVER, str(handed), SERVICE]
    with subprocess.Popen(command, pass_fds=[handed], stdout=subprocess.PIPE, text=True) as running:
        os.close(handed)
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(20) == 0


async def load(url: str, until: asyncio.Event) -> int:
    """Ask in a closed loop on a kept connection; how often it was answered. Any failure is raised."""
    answered = 0
    async with aiohttp.ClientSession() as session:
        while not until.is_set():
            async with session.post(url) as answer:
                assert answer.status == 405
            async with session.get(url) as answer:
                assert answer.status == 200
                answered += 1
    return answered


async def test_restarts_on_an_activated_socket_lose_no_request() -> None:
    done = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(load(url, done)) for _ in range(8)]
            for _ in range(3):
                await asyncio.to_thread(one_life, listening)
            with activated(listening) as running:
                await asyncio.to_thread(wait_ready, running)
                done.set()
                await asyncio.wait(clients)
    assert min(client.result() for client in clients) > 10


def wait_ready(running: "subprocess.Popen[str]") -> None:
    assert running.stdout is not None
    while "service.ready" not in (line := running.stdout.readline()):
        assert line


def one_life(listening: socket.socket) -> None:
    with activated(listening) as running:
        wait_ready(running)
        for _ in range(300):  # lines of requests served
            assert running.stdout is not None
            running.stdout.readline()
