"""What each role may do at all: the web roles, the logins, and nobody more than that."""

from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.fix_postgres import ROOT, Database

pytestmark = pytest.mark.sql

Catalogue = psycopg.Connection[tuple[object, ...]]

WEB_ROLES = ["pgrest_anon", "pgrest_auth", "authenticator"]
ROLES = [*WEB_ROLES, "authsvc", "listener", "listener_events", "precis_definer", "precis_owner"]


def names(connection: Catalogue, query: LiteralString, *parameters: object) -> set[object]:
    return {row[0] for row in connection.execute(query, parameters)}


def schemas_with(connection: Catalogue, role: str, privilege: str) -> set[object]:
    return names(connection, """
        select nspname from pg_namespace where has_schema_privilege(%s, oid, %s)
           and nspname not in ('pg_catalog', 'information_schema', 'pg_toast')""", role, privilege)  # fmt: skip


def test_no_role_is_more_than_an_ordinary_one(catalogue: Catalogue) -> None:
    extraordinary = names(catalogue, """
        select rolname from pg_roles where rolname = any (%s)
           and (rolsuper or rolbypassrls or rolcreatedb or rolcreaterole or rolreplication)""", ROLES)  # fmt: skip
    assert extraordinary == set()


def test_only_the_services_and_the_migrations_log_in(catalogue: Catalogue) -> None:
    able = names(catalogue, "select rolname from pg_roles where rolname = any (%s) and rolcanlogin", ROLES)
    assert able == {"authenticator", "authsvc", "listener", "listener_events", "precis_owner"}


def test_each_role_is_a_member_of_what_it_must_become_and_nothing_else(catalogue: Catalogue) -> None:
    rows = catalogue.execute("""
        select member::regrole::text, roleid::regrole::text from pg_auth_members
         where member::regrole::text = any (%s) or roleid::regrole::text = any (%s)""", [ROLES, ROLES]).fetchall()  # fmt: skip
    assert set(rows) == {
        ("authenticator", "pgrest_anon"), ("authenticator", "pgrest_auth"),
        ("listener_events", "pgrest_auth"), ("precis_owner", "precis_definer"),
    }  # fmt: skip


def test_the_logins_have_no_rights_of_the_roles_they_may_become(catalogue: Catalogue) -> None:
    inheriting = names(catalogue, "select rolname from pg_roles where rolname = any (%s) and rolinherit", ROLES)
    assert inheriting == {"precis_owner"}


@pytest.mark.parametrize(("role", "schemas"), [
    ("pgrest_anon", {"public", "gate"}),
    ("pgrest_auth", {"public", "gate"}),
    ("authenticator", {"gate"}),
    ("authsvc", {"private"}),
    ("listener", {"private"}),
    ("listener_events", {"private", "gate"}),
])  # fmt: skip
def test_a_role_enters_its_schemas_only_and_makes_nothing_there(
    role: str, schemas: set[object], catalogue: Catalogue
) -> None:
    assert schemas_with(catalogue, role, "usage") == schemas
    assert schemas_with(catalogue, role, "create") == set()
    assert names(catalogue, "select 1 where has_database_privilege(%s, current_database(), 'create, temporary')", role) == set()


def test_the_authenticator_owns_nothing_and_may_call_one_function(catalogue: Catalogue) -> None:
    assert names(catalogue, "select objid from pg_shdepend where refobjid = 'authenticator'::regrole and deptype = 'o'") == set()
    assert names(catalogue, """
        select p.oid::regprocedure::text from pg_proc p where p.pronamespace::regnamespace::text in ('public', 'gate', 'private')
           and has_function_privilege('authenticator', p.oid, 'execute')""") == {"gate.pre_config()"}  # fmt: skip
    assert names(catalogue, """
        select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text in ('public', 'gate', 'private')
           and c.relkind <> 'i' and has_table_privilege('authenticator', c.oid, 'select, insert, update, delete')""") == set()  # fmt: skip


def test_no_role_setting_turns_row_security_off(catalogue: Catalogue) -> None:
    assert names(catalogue, "select setrole from pg_db_role_setting, unnest(setconfig) s where s ~ '^row_security'") == set()


def test_web_roles_see_columns_of_a_few_tables_and_write_none(catalogue: Catalogue) -> None:
    tables = """
        select c.relname from pg_class c where c.relnamespace = 'private'::regnamespace and c.relkind = 'r'
           and has_any_column_privilege(%s, c.oid, %s)"""
    assert names(catalogue, tables, "authenticator", "select, insert, update, references") == set()
    assert names(catalogue, tables, "pgrest_anon", "select") == {"model", "host_model"}
    assert names(catalogue, tables, "pgrest_auth", "select") == {
        "model", "host_model", "request", "job", "result", "partial", "event", "event_cursor",
    }  # fmt: skip
    for role in WEB_ROLES:
        assert names(catalogue, tables, role, "insert, update, references") == set()


def test_web_roles_have_no_right_on_the_tables_of_authsvc(catalogue: Catalogue) -> None:
    mine = names(catalogue, """
        select c.relname from pg_class c where c.relnamespace = 'private'::regnamespace and c.relkind = 'r'
           and has_table_privilege('authsvc', c.oid, 'select')""")  # fmt: skip
    assert mine == {"account", "session", "signing_key", "token_issuer", "rate_bucket", "audit"}
    for role in (*WEB_ROLES, "listener", "listener_events"):
        assert names(catalogue, """
            select t from unnest(%s::text[]) t where has_any_column_privilege(%s, 'private.' || t, 'select, insert, update')
                or has_table_privilege(%s, 'private.' || t, 'delete, truncate, trigger')""", list(mine), role, role) == set()  # fmt: skip


def test_nobody_takes_an_event_cursor_away(catalogue: Catalogue) -> None:
    assert names(catalogue, """
        select a.grantee::regrole::text from pg_class c, aclexplode(c.relacl) a where c.relname = 'event_cursor'
           and c.relnamespace = 'private'::regnamespace and a.privilege_type in ('DELETE', 'TRUNCATE')
           and a.grantee <> c.relowner""") == set()  # fmt: skip


@pytest.mark.parametrize("statement", [
    "create table private.mine ()", "create table public.mine ()", "create function gate.mine() returns int return 1",
    "create schema mine", "create temporary table mine ()", "alter table private.account add column mine int",
    "drop table private.audit", "alter table private.job disable row level security", "truncate private.audit",
    "create policy mine on private.job to public using (true)", "set role precis_owner", "set role precis_definer",
    "set session authorization precis_owner",
])  # fmt: skip
def test_a_service_cannot_change_the_schema(statement: LiteralString, settled: Database) -> None:
    for role in ("authsvc", "listener", "listener_events", "authenticator"):
        with settled.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_authsvc_cannot_read_the_queue(settled: Database) -> None:
    for table in ("request", "job", "result", "partial", "event", "event_cursor", "slot", "worker", "bell"):
        with settled.connect("authsvc") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("select * from private.{}").format(sql.Identifier(table)))


def test_a_password_is_set_when_it_is_given_and_left_alone_when_it_is_not(settled: Database) -> None:
    def secret() -> str:
        return settled.cluster.psql("postgres", "-At", "-c", "select rolpassword from pg_authid where rolname = 'authsvc'")

    roles = str(ROOT / "sql/roles.sql")
    settled.cluster.psql("postgres", "-v", "authsvc_password=it's one", "-f", roles)
    given = secret()
    settled.cluster.psql("postgres", "-f", roles)
    assert given.startswith("SCRAM-SHA-256$")
    assert secret() == given
