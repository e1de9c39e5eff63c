"""`listener events` as the process that systemd starts."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from chassis.service import Lifecycle
from tests.fix_events import PATIENCE_SECONDS, Rows, Service
from tests.fix_postgres import Database, free_port
from tests.fix_tokens import Tokens

pytestmark = pytest.mark.services

REFUSALS = 5


@dataclass
class Process:
    """The running program and how it is reached."""

    service: Service
    program: asyncio.subprocess.Process


async def test_a_stopped_process_says_bye_and_exits_0(database: Database, tokens: Tokens, rows: Rows) -> None:
    ann = tokens.person()
    async with process(database) as running, running.service.stream(ann) as client:
        request = rows.insert(ann)
        assert (await client.next("change")).data["id"] == str(request)
        running.program.send_signal(signal.SIGTERM)
        assert (await client.rest())[-1].data == {"reason": "shutdown"}
        async with asyncio.timeout(5):
            assert await running.program.wait() == 0


async def test_readiness_tells_that_the_database_is_gone(database: Database, tokens: Tokens) -> None:
    async with process(database) as running:
        database.cluster.psql(
            "postgres",
            "-c", f"alter database {database.name} allow_connections false",
            "-c", f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database.name}'",
        )  # fmt: skip
        assert await becomes(running.service, 503)
        await refused(database)
        database.cluster.psql("postgres", "-c", f"alter database {database.name} allow_connections true")
        assert await becomes(running.service, 200)


async def test_neither_tokens_nor_tickets_are_logged(database: Database, tokens: Tokens) -> None:
    ann = tokens.person()
    async with process(database) as running:
        ticket = await running.service.ticket(ann)
        async with running.service.stream(ticket=ticket), running.service.stream(ann):
            pass
        assert await running.service.refusal(ticket=ticket) == (401, "invalid_ticket")
        running.program.send_signal(signal.SIGTERM)
        output = (await running.program.communicate())[0].decode()
    assert "/events" in output
    assert ticket not in output
    assert "eyJ" not in output


@asynccontextmanager
async def process(database: Database) -> AsyncIterator[Process]:
    public, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    environment = os.environ | {
        "PRECIS_CONFIG": os.devnull,
        "PRECIS_EVENTS_DATABASE_URL": database.url("listener_events"),
        "PRECIS_EVENTS_LISTEN": public,
        "PRECIS_EVENTS_ADMIN_LISTEN": admin,
    }
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "listener", "events", env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with aiohttp.ClientSession() as http:
            service = Service(f"http://{public}", f"http://{admin}", Lifecycle(), http)
            assert await becomes(service, 200)
            yield Process(service, program)
    finally:
        if program.returncode is None:
            program.kill()
        await program.communicate()


async def refused(database: Database) -> None:
    """Each part of the process has tried to connect, more than once, and the database allowed none."""
    told = f'database "{database.name}" is not currently accepting connections'
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (database.cluster.folder / "log").read_text(errors="replace").count(told) < REFUSALS:
            await asyncio.sleep(0.05)


async def becomes(service: Service, status: int) -> bool:
    """Wait until readiness is answered so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                async with service.http.get(f"{service.admin_url}/readyz") as response:
                    if response.status == status:
                        return True
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)  # each answer is a line in a pipe that nobody empties
