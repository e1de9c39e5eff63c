"""Who gets at what in the database, and that the service looks before it serves."""

import subprocess
from pathlib import Path

import psycopg
import pytest

from chassis.errors import StartError
from tests.authsvc.fix_service import Service, running
from tests.fix_postgres import Database

pytestmark = pytest.mark.services

TABLES = ("account", "session", "signing_key", "token_issuer", "rate_bucket", "audit")


@pytest.mark.parametrize("role", ["pgrest_anon", "pgrest_auth", "authenticator"])
def test_client_roles_reach_none_of_our_tables(database: Database, role: str) -> None:
    with database.connect() as connection:
        assert connection.execute(
            "select has_schema_privilege(%s, 'private', 'usage')", [role]
        ).fetchone() == (False,)
        for table in TABLES:
            for privilege in ("select", "insert", "update", "delete", "truncate", "references", "trigger"):
                asked = [role, f"private.{table}", privilege]
                assert connection.execute("select has_table_privilege(%s, %s, %s)", asked).fetchone() == (
                    False,
                ), asked


def test_our_own_role_can_do_no_more_than_its_work(database: Database) -> None:
    with database.connect("authsvc") as connection:
        for statement in (
            "create table private.mine (id int)",
            "create table public.mine (id int)",
            "alter table private.account add column admin boolean",
            "drop table private.audit",
            "truncate private.audit",
            "delete from private.audit",
            "update private.audit set event = 'x'",
            "select from private.request",
            "select from private.job",
            "select from private.result",
            "select gate.pre_config()",
            "set role precis_owner",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)  # type: ignore[call-overload]


async def test_it_does_not_start_where_clients_can_enter_the_private_schema(
    database: Database, tmp_path: Path
) -> None:
    with database.connect() as connection:
        connection.execute("grant usage on schema private to pgrest_auth")
    with pytest.raises(ExceptionGroup) as refused:
        async with running(database, tmp_path):
            pass
    assert refused.group_contains(StartError, match="pgrest_auth can enter schema private")


async def test_it_is_not_ready_once_clients_can_enter(service: Service) -> None:
    service.query("grant usage on schema private to public")
    answer = await service.ready()
    assert answer.status == 503
    assert answer.json["details"]["isolation"] == "failed"


async def test_a_dump_alone_holds_nothing_that_signs_or_refreshes(service: Service) -> None:
    tokens = (await service.register("ada@example.org")).json
    document = (await service.get("/.well-known/jwks.json")).json
    dump = service.database.cluster.bin / "pg_dump"
    command = [dump, service.database.url(), "--data-only", "--inserts"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "ada@example.org" in text
    assert document["keys"][0]["x"] in text
    assert tokens["refresh_token"] not in text
    assert tokens["access_token"] not in text
    (sealed,) = service.query("select private_key from private.signing_key")[0]
    assert len(sealed) == 12 + 32 + 16  # nonce, key, tag: sealed, not stored
