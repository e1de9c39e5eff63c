"""All parts of Precis as real processes on free ports and one database, with a config.toml like any other's.

`stack` is shared by the tests of one test process; `breakable_stack` is the same one, mended after the test.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from precis import layout
from precis.setup import postgrest
from precis.setup.settings import StackSettings
from precis.stack import postgrest_program

from chassis.settings import load
from tests.fix_engine import engine_part
from tests.fix_postgres import ROOT, Cluster, Database, free_port
from tests.part import LOOK_AGAIN_SECONDS, Part, run
from tests.scripted_engine.rules import RuleFile
from tests.stack.client import Client

PASSWORD = "velvet harbour quiet nine 42"
PARTS = ("engine", "authsvc", "postgrest", "listener work", "listener events")
ROLES = {
    "authsvc": "authsvc",
    "work": "listener",
    "events": "listener_events",
    "postgrest": "authenticator",
}

Sections = Mapping[str, Mapping[str, Any]]


@dataclass
class Stack:
    """All parts on one database, with a config.toml like any other installation's."""

    database: Database
    folder: Path
    sections: Sections
    parts: dict[str, Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rules = RuleFile(self.folder / "faults.json")

    @property
    def work(self) -> Part:
        return self.parts["listener work"]

    @property
    def engine(self) -> Part:
        return self.parts["engine"]

    def url(self, section: str) -> str:
        return f"http://{self.sections[section]['listen']}"

    def start(self) -> None:
        """All at once; only the worker waits for the model server, whose models it announces."""
        parts = [self.parts[name] for name in PARTS if name in self.parts]
        for part in parts:
            if part.name != "listener work":
                part.start()
        if "engine" in self.parts:
            self.engine.wait_ready()
        if "listener work" in self.parts:
            self.work.start()
        for part in parts:
            part.wait_ready()

    def stop(self) -> None:
        running = [part for part in self.parts.values() if part.process]
        for part in running:  # once: a second signal would not let it finish
            part.ask_to_leave()
        for part in running:
            part.wait()

    def mend(self) -> None:
        """All parts as after the start, and nothing left to do."""
        self.query("delete from private.request")
        for part in self.parts.values():
            part.send(signal.SIGCONT)
            if part.process is None or part.process.poll() is not None:
                part.start()
        for part in self.parts.values():
            part.wait_ready()

    @contextlib.contextmanager
    def second_worker(self) -> Iterator[Part]:
        """One more `listener work` beside the stack's own."""
        second = part(self, "listener work")
        address = local()
        second.environ = {**second.environ, "PRECIS_WORK_ADMIN_LISTEN": address}
        second.health, second.log = f"http://{address}/readyz", self.folder / "second-work.log"
        with run(second):
            yield second

    def faults(self, *rules: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        """The engine misbehaves by these rules until the end of the block."""
        return self.rules.in_force(*rules)

    def metric(self, part: str, name: str, **labels: str) -> float:
        """What that part's /metrics tells, 0 if nothing yet; summed over other labels."""
        address = self.parts[part].health.replace("/readyz", "/metrics")
        with urllib.request.urlopen(address, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        samples = (line for line in lines if line.partition("{")[0].partition(" ")[0] == name)
        return sum(float(line.split()[-1]) for line in samples if all(text in line for text in wanted))

    def cancelled_calls(self) -> float:
        """Model calls that were closed before their end: while the engine worked, or was held up."""
        held_up = self.metric("engine", "scripted_engine_cancelled_total")
        return held_up + self.metric("engine", "precis_engine_calls_total", outcome="cancelled")

    def query(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """As the superuser, past row security."""
        with psycopg.connect(self.database.url(), autocommit=True) as connection:
            cursor = connection.execute(sql, arguments)
            return list(cursor.fetchall()) if cursor.description else []

    def until(self, sql: str, *arguments: object, within: float = 20.0) -> tuple[Any, ...]:
        """Waits until the query finds a row, and returns it."""
        deadline = time.monotonic() + within
        while not (rows := self.query(sql, *arguments)):
            assert time.monotonic() < deadline, f"no row within {within} s: {sql} {arguments}"
            time.sleep(LOOK_AGAIN_SECONDS)
        return rows[0]

    @contextlib.asynccontextmanager
    async def visit(self) -> AsyncIterator[Client]:
        """Somebody who has not signed in."""
        async with aiohttp.ClientSession() as http:
            yield Client(http, self.url("postgrest"), self.url("authsvc"), self.url("events"))

    @contextlib.asynccontextmanager
    async def sign_up(self) -> AsyncIterator[Client]:
        """A new person, registered and signed in through authsvc."""
        async with self.visit() as client:
            client.email, client.password = f"{secrets.token_hex(8)}@example.com", PASSWORD
            # Each from an address of its own: many people register here, none of them often.
            net = secrets.token_hex(4)
            headers = {"X-Forwarded-For": f"2001:db8:{net[:4]}:{net[4:]}::1"}
            body = {"email": client.email, "password": client.password}
            answer = await client.auth("POST", "/auth/register", json=body, headers=headers)
            assert answer.status in (200, 201), answer
            client.tokens = answer.json
            yield client


def addresses() -> dict[str, dict[str, Any]]:
    """Loopback addresses for every part."""
    names = ("authsvc", "events", "engine", "postgrest", "work")
    sections: dict[str, dict[str, Any]] = {name: {"admin_listen": local()} for name in names}
    for name in names[:-1]:
        sections[name]["listen"] = local()
    return sections


def local() -> str:
    return f"127.0.0.1:{free_port()}"


def sections_for(database: Database) -> dict[str, dict[str, Any]]:
    """Production's settings, but for addresses, haste, and cheap passwords."""
    sections = addresses()
    sections["log"] = {"level": "debug", "format": "json"}
    sections["authsvc"] |= {
        "public_url": f"http://{sections['authsvc']['listen']}",
        "master_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="),
        "postgrest_url": f"http://{sections['postgrest']['listen']}",
        "bcrypt_cost": 4,
        "trusted_proxies": ["127.0.0.1"],
    }
    sections["work"] |= {
        "hosts": [f"http://{sections['engine']['listen']}"],
        "slots_per_model": 2,
        "first_token_seconds": 4,
        "idle_seconds": 2,
        "drain_seconds": 1,
    }
    for section, role in ROLES.items():
        sections[section]["database_url"] = database.url(role)
    return sections


def toml(sections: Sections) -> str:
    lines: list[str] = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items()), ""]
    return "\n".join(lines)


@contextlib.contextmanager
def laid_out(database: Database, changes: Sections, parts: tuple[str, ...]) -> Iterator[Stack]:
    """A stack that is ready to start: folder, config.toml, PostgREST's file, command lines."""
    folder = Path(tempfile.mkdtemp(prefix="precis-stack-", dir="/tmp"))
    sections = sections_for(database)
    for section, values in changes.items():
        sections[section] = sections.get(section, {}) | dict(values)
    (folder / "config.toml").write_text(toml(sections))
    stack = Stack(database, folder, sections)
    try:
        stack.parts = {name: part(stack, name) for name in parts}
        yield stack
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def part(stack: Stack, name: str) -> Part:
    """One part of the stack, not yet started. More than one `listener work` may be made."""
    programs = {
        "authsvc": ("authsvc",),
        "listener work": ("listener", "work"),
        "listener events": ("listener", "events"),
    }
    section = name.split()[-1]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PRECIS_", "PG"))}
    environ["PRECIS_CONFIG"] = str(stack.folder / "config.toml")
    if name == "engine":
        admin = stack.sections[section]["admin_listen"]
        return engine_part(stack.rules, admin, stack.folder / "engine.log", environ)
    if name == "postgrest":
        argv: tuple[str, ...] = (str(postgrest_binary()), str(render_postgrest(stack)))
        health = f"http://{stack.sections[section]['admin_listen']}/ready"
    else:
        program, *arguments = programs[name]
        argv = (str(Path(sys.executable).parent / program), *arguments)
        health = f"http://{stack.sections[section]['admin_listen']}/readyz"
    return Part(name, argv, health, stack.folder / f"{name.replace(' ', '-')}.log", environ)


def postgrest_binary() -> Path:
    cache = layout.parts_cache(layout.locate().cache)
    return postgrest_program.find(os.environ.get("PRECIS_POSTGREST", ""), cache, print)


def render_postgrest(stack: Stack) -> Path:
    """The project's own template, filled by the `precis` package as on any machine."""
    wanted = load(StackSettings, environ={"PRECIS_CONFIG": str(stack.folder / "config.toml")})
    file = stack.folder / "postgrest.conf"
    file.write_text(postgrest.render((ROOT / "postgrest/postgrest.conf").read_text(), wanted))
    return file


@contextlib.contextmanager
def running_stack(
    database: Database, *, parts: tuple[str, ...] = PARTS, **changes: Mapping[str, Any]
) -> Iterator[Stack]:
    """The parts named, started and ready, stopped on the way out; `changes` by section of the settings."""
    with laid_out(database, changes, parts) as stack:
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


@pytest.fixture(scope="session")
def stack(cluster: Cluster) -> Iterator[Stack]:
    with running_stack(cluster.create_database("stack", template="template_precis")) as running:
        yield running


@pytest.fixture
def breakable_stack(stack: Stack) -> Iterator[Stack]:
    yield stack
    stack.mend()
