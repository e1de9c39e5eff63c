"""The composition root: brings the parts up in their order, watches over them, and takes them down again."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psycopg

from precis.client.api import Account, Addresses, Client, session
from precis.faults import Fault, PartFailed
from precis.layout import Layout, parts_cache
from precis.screen import Screen
from precis.setup import config
from precis.setup.command import configured
from precis.setup.settings import PlaceSettings, StackSettings, load, service_urls, url
from precis.stack import database, logs, parts, postgres, postgrest_program
from precis.stack.demo_account import sign_in
from precis.stack.model_server import Ollama, find_ollama
from precis.stack.parts import AUTHSVC, ENGINE, EVENTS, POSTGRES, POSTGREST, WORK
from precis.stack.process import Command
from precis.stack.state import Record, State, clear_leftovers, exclusive
from precis.stack.supervisor import Part, Supervisor


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that is up."""

    settings: StackSettings
    ollama: Ollama | None
    client: Client


@asynccontextmanager
async def running(layout: Layout, screen: Screen) -> AsyncIterator[Stack]:
    """Everything up; everything down at the end, however it comes. Raises Fault."""
    with exclusive(layout.lock):
        for name in await asyncio.to_thread(clear_leftovers, layout.state):
            screen.note(f"ended {name}, left over from an earlier run")
        settings = _settle(layout, screen)
        logs.begin(layout.logs)
        try:
            async with session() as http, asyncio.TaskGroup() as group:
                starter = _Starter(layout, settings, http, group, screen)
                trimming = group.create_task(logs.keep_short(layout.logs), name="logs")
                try:
                    yield await starter.start()
                finally:
                    trimming.cancel()
                    await starter.stop()
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors


class _Starter:
    """The order of a start: what needs what."""

    def __init__(
        self,
        layout: Layout,
        settings: StackSettings,
        http: aiohttp.ClientSession,
        group: asyncio.TaskGroup,
        screen: Screen,
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._http = http
        self._screen = screen
        self._state = State(pid=os.getpid())
        self._supervisor = Supervisor(
            group, logs=layout.logs, state=self._state, state_path=layout.state, report=screen
        )
        self._superuser_url = settings.postgres_url
        self._take_signals()

    def _find_postgrest(self) -> Path:
        cache = parts_cache(self._layout.cache)
        return postgrest_program.find(self._settings.postgrest_binary, cache, self._screen.note)

    async def start(self) -> Stack:
        _, ollama, program = await asyncio.gather(
            self._start_database(),
            self._start_model(),
            asyncio.to_thread(self._find_postgrest),
        )
        hosts = {} if ollama else {"PRECIS_WORK_HOSTS": url(self._settings.engine_listen)}
        await asyncio.gather(
            self._start(AUTHSVC, parts.service(self._layout, "authsvc")),
            self._start(POSTGREST, parts.postgrest(program, self._layout.postgrest_conf)),
            self._start(EVENTS, parts.service(self._layout, "listener", "events")),
            self._start(WORK, parts.service(self._layout, "listener", "work", environ=hosts)),
        )
        account = Account(self._settings.demo_email, self._settings.demo_password)
        client = Client(self._http, Addresses(*service_urls(self._settings)), account)
        await sign_in(client, self._layout, self._settings.owner_url)
        return Stack(self._settings, ollama, client)

    async def stop(self) -> None:
        await self._supervisor.stop()
        self._state.pid = 0
        self._supervisor.publish()

    async def _start_database(self) -> None:
        if self._settings.postgres_url:
            self._state.parts.append(Record(POSTGRES, ready=True, detail="the server of local.postgres_url"))
        else:
            await self._start_postgres()
        began = time.monotonic()
        psql = postgres.wheel_binaries() / "psql"
        try:
            did = await database.prepare(self._superuser_url, self._settings, self._layout.checkout, psql)
        except psycopg.Error as error:
            raise PartFailed("database_unusable", f"The database cannot be prepared: {error}.") from error
        self._screen.ready("migrations", did, time.monotonic() - began)

    async def _start_postgres(self) -> None:
        port = int(self._settings.postgres_listen.rpartition(":")[2])
        cluster = await asyncio.to_thread(postgres.prepare, self._layout, port)
        if did := await asyncio.to_thread(postgres.clear_leftovers, cluster):
            self._screen.note(did)
        self._superuser_url = cluster.superuser_url
        await self._start(POSTGRES, cluster.server(), outlives=True)

    async def _start_model(self) -> Ollama | None:
        """Uses an Ollama that has a model, else starts the built-in engine."""
        ollama = await find_ollama(self._http, self._settings.work_hosts)
        self._state.model_url = ollama.shown if ollama else url(self._settings.engine_listen)
        self._state.builtin_engine = ollama is None
        if ollama:
            self._screen.note(f"Ollama at {ollama.shown} serves {', '.join(ollama.models)}")
        else:
            self._screen.note(
                "no Ollama with a model answers: the built-in engine copies the sentences that say most"
            )
            await self._start(ENGINE, parts.service(self._layout, "listener", "engine"))
        return ollama

    async def _start(self, name: str, command: Command, *, outlives: bool = False) -> None:
        probe = parts.probes(self._settings, self._http, self._superuser_url)[name]
        await self._supervisor.start(Part(name, command, probe, outlives))

    def _take_signals(self) -> None:
        """The first one stops in order, by cancelling whatever is under way; the next does not wait."""
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            if task.cancelling():
                self._supervisor.kill()
            else:
                task.cancel()

        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if sig != signal.SIGHUP or signal.getsignal(sig) != signal.SIG_IGN:  # nohup means it
                loop.add_signal_handler(sig, interrupt)


def _settle(layout: Layout, screen: Screen) -> StackSettings:
    """The settings, made if they are missing, with ports that are free now."""
    configured(layout, screen)
    for name, address in config.move(layout, load(PlaceSettings, layout).postgres_url).items():
        screen.note(f"{name} was taken by another program, is now {address}")
    settings = load(StackSettings, layout)
    config.derive(layout, settings)
    return settings


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The fault that a person can mend, if there is one among them."""
    found = errors.subgroup(Fault)
    while found is not None:
        error = found.exceptions[0]
        if isinstance(error, BaseExceptionGroup):
            found = error
        else:
            return error
    return errors
