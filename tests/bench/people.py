"""People who send requests the way PostgREST does it for them: a role and claims set in a transaction, then
the statement on the view. Knows no token."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.bench.roundtrip import WORDS, draw_text
from tests.fix_postgres import Database

AS_CLIENT = "select set_config('role', 'pgrest_auth', true), set_config('request.jwt.claims', %s, true)"
INSERT = """
insert into public.requests (task, text, target_words, model) values ('summarize', %s, %s, %s)
returning id::text
"""
INSERT_MANY = """
insert into public.requests (task, text, target_words, model)
  select 'summarize', %s, %s, %s from generate_series(1, %s)
"""
SIGN_UP = """
insert into private.account (email, email_key)
  select address, address from (select gen_random_uuid() || '@bench.example' as address
                                  from generate_series(1, %s)) a
returning id::text
"""
AT_ONCE = 100
# Its own summary: the worker answers without a model.
SHORT_TEXT = "A sentence."


@dataclass(frozen=True, slots=True)
class Sent:
    """A request, and the time when its sender was told that it is committed."""

    id: str
    committed_at: float


@dataclass(frozen=True, slots=True)
class Sender:
    """One connection on which people send requests in turn."""

    connection: "psycopg.Connection[tuple[Any, ...]]"

    def send(self, person: str, model: str, text: str = "") -> Sent:
        """One request; without a text one for which the model is called once."""
        self._begin(person)
        row = self.connection.execute(INSERT, [text or draw_text(), WORDS, model]).fetchone()
        self.connection.commit()
        committed_at = time.time()
        assert row is not None
        return Sent(row[0], committed_at)

    def send_many(self, person: str, model: str, count: int) -> None:
        """So many, in transactions of not too many: each counts its rows in one row of its owner."""
        for sent in range(0, count, AT_ONCE):
            self._begin(person)
            self.connection.execute(INSERT_MANY, [draw_text(), WORDS, model, min(AT_ONCE, count - sent)])
            self.connection.commit()

    def _begin(self, person: str) -> None:
        self.connection.execute(AS_CLIENT, [json.dumps({"sub": person, "role": "pgrest_auth"})])


@contextmanager
def sending(database: Database) -> Iterator[Sender]:
    with psycopg.connect(database.url("authenticator")) as connection:
        yield Sender(connection)


def sign_up(database: Database, count: int) -> list[str]:
    """The ids of so many new accounts."""
    with database.connect() as connection:
        return [str(row[0]) for row in connection.execute(SIGN_UP, [count])]
