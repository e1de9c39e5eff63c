"""Accounts and keys: what hangs on an account comes and goes with it, and no key that could open the forge
path is kept."""

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.fix_postgres import Database
from tests.fix_tokens import Key
from tests.sql.acting import acting, ask, put, sign_up, some_model

pytestmark = pytest.mark.sql


def test_an_account_that_authsvc_makes_has_its_event_cursor(common: Database) -> None:
    with common.connect("authsvc") as connection:
        connection.execute(
            "insert into private.account (email, email_key) values ('a@example.com', 'a@example.com')"
        )
    with common.connect() as connection:
        lone = connection.execute("""
            select from private.account a
             where not exists (select from private.event_cursor c where c.owner = a.id)""").fetchall()
    assert lone == []


def rows_of(database: Database, account: object) -> dict[str, int]:
    tables = ("request", "job", "result", "event_cursor", "event")
    with database.connect() as connection:
        return {
            table: len(connection.execute(
                sql.SQL("select from private.{} where owner = %s").format(sql.Identifier(table)), [account]
            ).fetchall())
            for table in tables
        }  # fmt: skip


def test_an_account_goes_with_all_that_is_its_own(common: Database) -> None:
    some_model(common)
    account = sign_up(common)
    with acting(common, account) as person, common.connect() as worker, common.connect("authsvc") as authsvc:
        request = ask(person)
        put(common, request, "done")
        worker.execute(
            "insert into private.result (request_id, owner, epoch, body) values (%s, %s, 1, 'Short.')",
            [request, account],
        )
        assert min(rows_of(common, account).values()) == 1
        authsvc.execute("delete from private.account where id = %s", [account])
    assert set(rows_of(common, account).values()) == {0}


def insert_key(connection: psycopg.Connection[tuple[object, ...]], kid: str, jwk: dict[str, str]) -> None:
    connection.execute("insert into private.signing_key (kid, public_jwk, private_key, state)"
                       " values (%s, %s, '', 'next')", [kid, Jsonb(jwk)])  # fmt: skip


def test_an_ed25519_key_is_kept(common: Database) -> None:
    jwk = Key().jwk
    with common.connect("authsvc") as connection:
        insert_key(connection, jwk["kid"], jwk)


@pytest.mark.parametrize("change", [
    {"crv": "X25519"}, {"kty": "AKP"}, {"kty": "RSA"}, {"kty": "oct"}, {"alg": "Ed25519"}, {"alg": "HS256"},
    {"use": "enc"},
    {"x": "short"}, {"kid": "another"}, {"d": "private"}, {"key_ops": "verify"}, {"k": "secret"},
    {"x": None}, {"alg": None}, {"use": None}, {"kid": None}, {"kty": None}, {"crv": None},
], ids=str)  # fmt: skip
def test_a_key_that_some_postgrest_cannot_read_is_refused(
    change: dict[str, str | None], common: Database
) -> None:
    jwk = Key().jwk
    changed = {name: value for name, value in (jwk | change).items() if value is not None}
    with common.connect("authsvc") as connection, pytest.raises(psycopg.errors.CheckViolation):
        insert_key(connection, jwk["kid"], changed)


def test_only_one_key_signs(common: Database) -> None:
    with common.connect("authsvc") as connection:
        for jwk in (Key().jwk, Key().jwk):
            insert_key(connection, jwk["kid"], jwk)
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("update private.signing_key set state = 'active'")


def test_what_authsvc_hands_out_about_keys_holds_no_private_part(common: Database) -> None:
    with common.connect() as connection:
        insert_key(connection, (jwk := Key().jwk)["kid"], jwk)
    with common.connect("listener_events") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select private_key from private.signing_key")
        columns = connection.execute("select * from gate.public_keys()").description or []
    assert [column.name for column in columns] == ["jwk", "issuer", "audience"]
