"""The real PostgREST as a process on a database, with the
project's own configuration, and a client that shows what
went over the wire. No other part of the service runs.

`rest` is one on the test's own `database`; `api` is shared by tests that only bring people of their own.
"""

import contextlib
import http.client
import json as json_text
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, LiteralString

import pytest
from precis.stack import postgrest_program

from tests.fix_postgres import Cluster, Database
from tests.fix_stack import running_stack
from tests.fix_tokens import Tokens
from tests.part import Part

Header = tuple[str, str]
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names are as PostgREST wrote them; `[]` of `headers` knows no case."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json_text.loads(self.text)

    @property
    def code(self) -> str | None:
        """The stable code of an error, None of anything else."""
        body = self.json if self.text.startswith("{") else {}
        return body.get("code") if isinstance(body, dict) else None

    @property
    def error(self) -> tuple[int, str | None]:
        return self.status, self.code


@dataclass(frozen=True)
class Rest:
    """A running PostgREST. `token=None` is anonymous."""

    address: str
    process: Part
    database: Database
    tokens: Tokens

    @property
    def version(self) -> tuple[int, ...]:
        """Where the versions differ, a test says so by this."""
        return postgrest_program.version(Path(self.process.argv[0])) or ()

    def get(self, path: str, **options: Any) -> Answer:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        return self.ask("POST", path, **options)

    def patch(self, path: str, **options: Any) -> Answer:
        return self.ask("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.ask("DELETE", path, **options)

    def ask(
        self, method: str, path: str, *, token: str | None = None, json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | Sequence[Header] = (),
    ) -> Answer:  # fmt: skip
        """One request on a connection of its own. `body` goes as it is, `json` is written out; a header may
          be given
        twice."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
        if token is not None:
            pairs.append(("Authorization", f"Bearer {token}"))
        if json is not None:
            body = json_text.dumps(json).encode()
        if body is not None:
            pairs.append(("Content-Length", str(len(body))))
            if not any(name.lower() == "content-type" for name, _ in pairs):
                pairs.append(("Content-Type", "application/json"))
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=30)) as connection:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in pairs:
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read().decode())

    def query(self, sql: LiteralString, *values: object, **named: object) -> list[tuple[Any, ...]]:
        """As the superuser, past row security."""
        with self.database.connect() as connection:
            cursor = connection.execute(sql, named or values)
            return cursor.fetchall() if cursor.description else []

    def notify(self, what: Literal["reload config", "reload schema"]) -> None:
        self.query("select pg_notify('pgrst', %s)", what)


@contextlib.contextmanager
def running_rest(database: Database) -> Iterator[Rest]:
    """With a signing key and one model, so that people can sign in and ask."""
    tokens = Tokens(database)
    with database.connect("listener") as listener:
        listener.execute("select private.add_model('tiny:latest')")
        listener.execute("update private.model set is_default = true")
    with running_stack(database, parts=("postgrest",)) as stack:
        process = stack.parts["postgrest"]
        yield Rest(str(stack.sections["postgrest"]["listen"]), process, database, tokens)


@pytest.fixture
def rest(database: Database) -> Iterator[Rest]:
    with running_rest(database) as running:
        yield running


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Iterator[Rest]:
    with running_rest(cluster.create_database("api", template="template_precis")) as running:
        yield running
