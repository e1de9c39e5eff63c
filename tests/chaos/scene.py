"""Everything that a run of chaos consists of: Postgres, PostgREST, model server, workers, people who ask."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.chaos import model_server
from tests.chaos.crew import Worker, crew
from tests.chaos.model_server import ModelServer
from tests.chaos.producers import Producers
from tests.chaos.proxy import Proxy
from tests.fix_postgres import SERVER_OPTIONS, Cluster, running_cluster
from tests.fix_stack import Stack, running_stack
from tests.fix_tokens import Tokens

SLOTS = 3  # of each of the model server's models
STRAIGHT = 1
THROUGH_PROXIES = 2
PEOPLE = 6
ROOM = 40  # rows that may wait: more than the slots can take, few enough to be over soon
CONNECTIONS = 500
NAME = "chaos"  # application_name of our own connections: these are spared
LOOK_SECONDS = 0.2
COUNT_WAITING = "select count(*) from private.job where state in ('ready', 'running')"
NO_QUOTAS = """
update private.allowance set requests_per_day = null, bytes_per_day = null, requests_waiting = null
"""
WORK = {
    "slots_per_model": SLOTS,
    "first_token_seconds": 3,
    "idle_seconds": 4,
    "drain_seconds": 2,
    "max_attempts": 20,
}


@dataclass
class Scene:
    """What faults may lay hands on."""

    stack: Stack
    models: ModelServer
    workers: list[Worker]
    producers: Producers
    chance: random.Random

    @property
    def cluster(self) -> Cluster:
        return self.stack.database.cluster

    @property
    def proxies(self) -> list[Proxy]:
        return [worker.proxy for worker in self.workers if worker.proxy is not None]

    @asynccontextmanager
    async def session(self) -> AsyncIterator["asyncpg.Connection[Any]"]:
        """A superuser's connection to the database."""
        url = self.stack.database.url()
        connection = await asyncpg.connect(url, timeout=10, server_settings={"application_name": NAME})
        try:
            yield connection
        finally:
            connection.terminate()

    def complaints(self, words: str) -> int:
        """How often the server's log says so."""
        return (self.cluster.folder / "log").read_text(errors="replace").count(words)

    async def count_waiting(self) -> None:
        """Keeps the producers informed, for ever."""
        while True:
            try:
                async with self.session() as connection:
                    while True:
                        self.producers.waiting = await connection.fetchval(COUNT_WAITING)
                        await asyncio.sleep(LOOK_SECONDS)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def scene(seed: int) -> AsyncIterator[Scene]:
    """All parts, ready, nobody asking yet. What happens by chance follows from the seed."""
    options = (*SERVER_OPTIONS, "-c", f"max_connections={CONNECTIONS}")
    with running_cluster(options=options) as cluster:
        database = cluster.create_database("chaos")
        cluster.dbmate("chaos", "up")
        tokens = Tokens(database)
        people = [tokens.person() for _ in range(PEOPLE)]
        with database.connect() as connection:
            connection.execute(NO_QUOTAS)
        chance = random.Random(seed)
        async with model_server.serving(chance) as models:
            work = WORK | {"hosts": [models.url]}
            with running_stack(database, parts=("postgrest",), work=work) as stack:
                async with crew(stack, straight=STRAIGHT, through_proxies=THROUGH_PROXIES) as workers:
                    producers = Producers(stack.url("postgrest"), people, chance, ROOM)
                    yield Scene(stack, models, workers, producers, chance)
