"""Accounts and models for tests of the database alone, and a connection that acts as a signed-in person, the
way
PostgREST would: as `authenticator`, switched to the web role, with claims. Knows no token."""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from tests.fix_postgres import Database

Connection = psycopg.Connection[tuple[object, ...]]

_numbers = itertools.count(1)


def sign_up(database: Database) -> UUID:
    """A new account's id."""
    email = f"person{next(_numbers)}@example.com"
    with database.connect() as connection:
        row = connection.execute(
            "insert into private.account (email, email_key) values (%s, %s) returning id", [email, email]
        ).fetchone()
    assert row is not None
    assert isinstance(row[0], UUID)
    return row[0]


def some_model(database: Database) -> int:
    """The id of a new model, the default from now on."""
    with database.connect("listener") as connection:
        row = connection.execute("select private.add_model(%s)", [f"tiny{next(_numbers)}:latest"]).fetchone()
        assert row is not None
        assert isinstance(row[0], int)
        connection.execute("update private.model set is_default = false where is_default")
        connection.execute("update private.model set is_default = true where id = %s", row)
    return row[0]


@contextlib.contextmanager
def acting(database: Database, account: UUID) -> Iterator[Connection]:
    claims = json.dumps({"sub": str(account), "role": "pgrest_auth"})
    with database.connect("authenticator") as connection:
        connection.execute("set role pgrest_auth")
        connection.execute("select set_config('request.jwt.claims', %s, false)", [claims])
        yield connection


def ask(connection: Connection, **columns: object) -> UUID:
    """Inserts a request as a client would; returns its id."""
    row = {"task": "summarize", "text": "Some text.", **columns}
    query = sql.SQL("insert into public.requests ({}) values ({}) returning id").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Placeholder, row))
    )
    answer = connection.execute(query, row).fetchone()
    assert answer is not None
    assert isinstance(answer[0], UUID)
    return answer[0]


@contextlib.contextmanager
def refused(code: str) -> Iterator[None]:
    """The block ends with an error that PostgREST would answer with this code."""
    with pytest.raises(psycopg.Error) as caught:
        yield
    assert caught.value.sqlstate == "PGRST", caught.value
    assert json.loads(caught.value.diag.message_primary or "")["code"] == code


def allow(database: Database, owner: UUID | None, **columns: object) -> None:
    """Sets the allowance of an account, of everybody if it is None; what is not named has no limit."""
    row = {"owner": owner, **columns}
    query = sql.SQL("insert into private.allowance ({}) values ({})").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Placeholder, row))
    )
    with database.connect() as operator:
        operator.execute("delete from private.allowance where owner is not distinct from %s", [owner])
        operator.execute(query, row)


def counted(database: Database, owner: UUID) -> tuple[object, ...]:
    """(waiting, requests of the day, bytes of the day)."""
    with database.connect() as connection:
        (row,) = connection.execute(
            "select waiting, day_requests, day_bytes from private.event_cursor where owner = %s", [owner]
        ).fetchall()
    return row


def state_of(database: Database, request: UUID) -> str | None:
    """The state of its root job, None if it is gone."""
    with database.connect() as connection:
        row = connection.execute(
            "select state from private.job where request_id = %s and kind = 'root'", [request]
        ).fetchone()
    return str(row[0]) if row else None


def put(database: Database, request: UUID, state: str) -> None:
    """Brings the root job into a state, as a worker would have."""
    with database.connect() as connection:
        connection.execute(
            """
            update private.job set state = %(state)s, worker_id = case when %(state)s = 'running' then 1 end,
                   error_code = case when %(state)s = 'failed' then 'model_failed' end,
                   finished_at = case when %(state)s in ('done', 'failed', 'cancelled') then now() end
             where request_id = %(request)s and kind = 'root'""",
            {"state": state, "request": request},
        )


def until(database: Database, query: LiteralString, *parameters: object) -> None:
    """Waits until the query finds a row."""
    deadline = time.monotonic() + 10
    with database.connect() as connection:
        while not connection.execute(query, parameters).fetchall():
            assert time.monotonic() < deadline, query
            connection.execute("select pg_sleep(0.005)")


def until_blocked(database: Database, connection: Connection) -> None:
    """Waits until a statement of this connection waits for somebody else's lock."""
    until(database, "select 1 where cardinality(pg_blocking_pids(%s)) > 0", connection.info.backend_pid)


@contextlib.contextmanager
def listening(database: Database, channel: str) -> Iterator[Callable[[], list[str]]]:
    """Inside, a call tells the payloads that were sent on the channel since the last one."""
    with database.connect() as ear:
        ear.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))

        def heard() -> list[str]:
            with database.connect() as mouth:
                mouth.execute("select pg_notify(%s, 'enough')", [channel])
            payloads: list[str] = []
            for notice in ear.notifies(timeout=10):
                if notice.payload == "enough":
                    return payloads
                payloads.append(notice.payload)
            raise AssertionError("our own notification did not arrive")

        yield heard
