"""A worker for tests of the database alone: claims with the listener's own statement, through psycopg. Its
lease does not end, and it has slots enough."""

from typing import NamedTuple
from uuid import UUID

import psycopg

from listener.queue.jobs import CLAIM, CLAIM_AROUND, LOWEST_TAG
from tests.fix_postgres import Database

SLOTS = 1000
MAKE_WORKER = """
    with one as (insert into private.worker (name, version, lease_until) values ('test', '0', 'infinity')
                   returning id, incarnation),
         host as (insert into private.host (url) values (gen_random_uuid()::text) returning id),
         slots as (insert into private.slot (host_id, model_id, n, worker_id, incarnation)
                     select host.id, %s, n, one.id, one.incarnation from host, one, generate_series(1, %s) n)
    select id, incarnation from one"""
HOLDER = "select worker_id, incarnation from private.slot where model_id = %s limit 1"
TAKEN = """
    select j.id, j.request_id, j.owner, j.priority from private.job j
      join unnest(%s::bigint[]) with ordinality t(id, i) on t.id = j.id order by t.i"""


class Taken(NamedTuple):
    """A job that a claim took."""

    job: int
    request: UUID
    owner: UUID
    priority: int


def claim(
    database: Database, model: int, count: int, *, around: bool = False, floor: int = LOWEST_TAG
) -> list[Taken]:
    """What the next claim of so many takes, in no order."""
    with database.connect() as root:
        worker = (
            root.execute(HOLDER, [model]).fetchone() or root.execute(MAKE_WORKER, [model, SLOTS]).fetchone()
        )
        assert worker is not None
        with database.connect("listener") as listener, psycopg.RawCursor(listener) as cursor:
            arguments = [*worker, [model], [count], [floor], 3600.0]
            jobs = [row[0] for row in cursor.execute(CLAIM_AROUND if around else CLAIM, arguments).fetchall()]
        return [Taken(*row) for row in root.execute(TAKEN, [jobs]).fetchall()]  # type: ignore[arg-type]


def claim_in_turn(database: Database, model: int, count: int) -> list[Taken]:
    """One after the other, as long as there are any."""
    return [job for _ in range(count) for job in claim(database, model, 1)]
