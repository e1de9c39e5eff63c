"""The real side of the queue's model: a database, emptied for each run, with connections of a worker, of a
person and past row security; and everything that counts, read at once.

Knows nothing of what should be there.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, LiteralString, TypeVar

import asyncpg
import psycopg

from chassis.database import connect
from listener.queue import models, rescue
from listener.queue.connection import GUARD
from listener.queue.models import Served
from listener.queue.slots import SlotKey
from tests.fix_postgres import Database
from tests.sql.acting import sign_up

T = TypeVar("T")

HOSTS = 2
SLOTS = 1  # of each model on each host
EMPTY = """
delete from private.request;
delete from private.worker;
delete from private.partial;
update private.slot set worker_id = null, incarnation = null;
update private.event_cursor set waiting = 0;
update private.model set paused_at = null;
update private.queue set paused_at = null;
select setval(clock, 0, false) from private.model;
select pg_advisory_unlock_all()
"""
PICTURE = """
select
  array(select json_build_array(j.id, j.state, j.epoch, j.attempts, j.worker_id, j.priority,
                                j.run_at is not null, j.progress, j.error_code, j.started_at is not null,
                                j.finished_at is not null) from private.job j order by j.id),
  array(select json_build_array(r.request_id, r.epoch, r.body) from private.result r),
  array(select json_build_array(a.job_id, a.epoch, a.outcome, a.error_code, a.worker_id)
          from private.attempt a order by a.job_id, a.epoch),
  array(select json_build_array(p.request_id, p.epoch, p.n) from private.partial p),
  array(select json_build_array(c.owner, c.waiting) from private.event_cursor c),
  array(select json_build_array(s.host_id, s.model_id, s.n, s.worker_id, s.incarnation) from private.slot s),
  array(select json_build_array(w.id, w.incarnation, w.lease_until = '-infinity', w.draining)
          from private.worker w order by w.id)
"""


@dataclass
class Ground:
    """Opened once, emptied often."""

    database: Database
    runner: asyncio.Runner
    owners: list[str] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    slots: list[SlotKey] = field(default_factory=list)

    @property
    def models(self) -> list[int]:
        return list(self.names)

    def open(self) -> None:
        self.root = self.database.connect()
        self.person = self.database.connect("authenticator")
        self.other = self.database.connect("authenticator")
        for connection in (self.person, self.other):
            connection.execute("set role pgrest_auth")
        self.worker: asyncpg.Connection[Any] = self.run(
            connect(self.database.url("listener"), name="model", server_settings=GUARD)
        )
        self.owners = [str(sign_up(self.database)) for _ in range(2)]
        self.run(self._serve())
        self.slots = [
            SlotKey(*row) for row in self.query("select host_id, model_id, n from private.slot order by n")
        ]

    def close(self) -> None:
        self.worker.terminate()
        self.person.close()
        self.other.close()
        self.root.close()

    def run(self, statement: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(statement)

    def query(self, sql: LiteralString, *arguments: object) -> list[tuple[Any, ...]]:
        """Past row security."""
        cursor = self.root.execute(sql, arguments)
        return list(cursor.fetchall()) if cursor.description else []

    def empty(self) -> None:
        """As if nothing had ever been asked."""
        for statement in EMPTY.split(";"):
            self.root.execute(statement)

    def act(
        self, owner: str, sql: LiteralString, *arguments: object, beside: bool = False
    ) -> tuple[str, list[tuple[Any, ...]]]:
        """As this person: the code it was refused with, the rows it brought. `beside` an open transaction."""
        connection = self.other if beside else self.person
        claims = json.dumps({"sub": owner, "role": "pgrest_auth"})
        connection.execute("select set_config('request.jwt.claims', %s, false)", [claims])
        try:
            cursor = connection.execute(sql, arguments)
        except psycopg.Error as error:
            return json.loads(error.diag.message_primary or "{}")["code"], []
        return "", list(cursor.fetchall()) if cursor.description else []

    def picture(self) -> tuple[list[Any], ...]:
        """Jobs, results, attempts, text so far, what waits, slots, workers."""
        return tuple(self.query(PICTURE)[0])

    def next_jobs(self, model: int, count: int) -> set[int]:
        """What a claim should take: of each owner whose turns they are, as many that go first."""
        rows = self.query(
            "select id, owner, (priority, least(epoch, 1)) from private.job where state = 'ready'"
            " and run_at is null and model_id = %s order by tag, id", model,
        )  # fmt: skip
        turns = Counter(owner for _, owner, _ in rows[:count])
        first = sorted(rows, key=lambda row: tuple(map(int, row[2])), reverse=True)  # a stable order
        own = {owner: [job for job, whose, _ in first if whose == owner] for owner in turns}
        return {job for owner, most in turns.items() for job in own[owner][:most]}

    def clock(self, model: int) -> int:
        (row,) = self.query(
            "select coalesce(pg_sequence_last_value(clock), 0) from private.model where id = %s", model
        )
        return int(row[0])

    def show_life(self, worker: int, *, lives: bool) -> None:
        """The session lock of a worker's process."""
        take, leave = "select pg_advisory_lock(%s, %s)", "select pg_advisory_unlock(%s, %s)"
        self.root.execute(take if lives else leave, [rescue.ALIVE_LOCK, worker])

    async def _serve(self) -> None:
        """Two hosts that serve two models each."""
        for name in ("one:latest", "two:latest"):
            self.names[await models.add_model(self.worker, name)] = name
        served = [Served(model, name, "sha", "llama", 8192, ()) for model, name in self.names.items()]
        for n in range(HOSTS):
            host = await models.put_host(self.worker, url=f"http://{n}", version="1")
            await models.put_host_models(self.worker, host, served, slots_per_model=SLOTS)
        await models.choose_default(self.worker, "")
