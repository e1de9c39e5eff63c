"""No error quotes a person's text in the server's log, whoever provokes it and however."""

from typing import LiteralString

import psycopg
import pytest

from tests.fix_postgres import Database
from tests.fix_postgrest import Rest
from tests.postgrest.asking import ask

pytestmark = pytest.mark.services

SECRET = "the bridge of Melford is closed"
TEXT = f"Of what nobody else may know: {SECRET}."
FINISH: LiteralString = """
insert into private.result (request_id, owner, epoch, body, checks)
values (gen_random_uuid(), gen_random_uuid(), 1, %s, (%s::text)::jsonb)"""


def log_of(database: Database) -> str:
    return (database.cluster.folder / "log").read_text(errors="replace")


@pytest.mark.parametrize(
    "type", ["json", "jsonb", "integer", "uuid", "timestamptz", "xml", "boolean", "numeric"]
)
def test_a_cast_in_a_select_writes_no_text_into_the_servers_log(rest: Rest, type: str) -> None:
    person = rest.tokens.person()
    ask(rest, person, text=TEXT)
    answer = rest.get(f"/requests?select=text::{type}", token=person.token())
    assert answer.status >= 400
    assert SECRET not in log_of(rest.database)


def test_a_refused_insert_writes_no_statement_into_the_servers_log(rest: Rest) -> None:
    person = rest.tokens.person()
    for wrong in ({"task": SECRET}, {"target_words": -1}, {"text": f"{TEXT}\0"}, {SECRET: 1}):
        row = {"task": "summarize", "text": TEXT, **wrong}
        assert rest.post("/requests", token=person.token(), json=row).status >= 400
    assert SECRET not in log_of(rest.database)


@pytest.mark.parametrize("values", [(TEXT, TEXT), (f"{TEXT}", "{")])
def test_a_services_failed_statement_writes_no_text_into_the_servers_log(
    rest: Rest, values: tuple[str, str]
) -> None:
    with psycopg.connect(rest.database.url("listener"), autocommit=True) as listener:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            listener.execute(FINISH, values)
        with pytest.raises(psycopg.errors.UniqueViolation):
            listener.execute("insert into private.host (url) values (%s), (%s)", [SECRET, SECRET])
    assert SECRET not in log_of(rest.database)
