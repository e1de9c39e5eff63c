"""What each role may do at all: the web roles, the logins, and nobody more than that."""

from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.fix_postgres import ROOT, Database

pytestmark = pytest.mark.sql

Catalogue = psycopg.Connection[tuple[object, ...]]

WEB_ROLES = ["pgrest_anon", "pgrest_auth", "authenticator"]
SERVICES = ["authsvc", "listener", "listener_events", "authenticator"]
ROLES = [
    *WEB_ROLES,
    "event_reader",
    "authsvc",
    "listener",
    "listener_events",
    "precis_definer",
    "precis_owner",
]
OF_AUTHSVC = {"account", "session", "signing_key", "token_issuer", "rate_bucket", "audit"}

EXTRAORDINARY: LiteralString = """
    select rolname from pg_roles where rolname = any (%s)
       and (rolsuper or rolbypassrls or rolcreatedb or rolcreaterole or rolreplication)"""
MEMBERSHIPS: LiteralString = """
    select member::regrole::text, roleid::regrole::text from pg_auth_members
     where member::regrole::text = any (%(roles)s) or roleid::regrole::text = any (%(roles)s)"""
SCHEMAS: LiteralString = """
    select nspname from pg_namespace where has_schema_privilege(%s, oid, %s)
       and nspname not in ('pg_catalog', 'information_schema', 'pg_toast')"""
FUNCTIONS: LiteralString = """
    select p.oid::regprocedure::text from pg_proc p
     where p.pronamespace::regnamespace::text in ('public', 'gate', 'private')
       and has_function_privilege(%s, p.oid, 'execute')"""
TABLES: LiteralString = """
    select c.relname from pg_class c where c.relnamespace = 'private'::regnamespace and c.relkind = 'r'
       and has_table_privilege(%s, c.oid, %s)"""
COLUMNS: LiteralString = """
    select c.relname from pg_class c where c.relnamespace = 'private'::regnamespace and c.relkind = 'r'
       and has_any_column_privilege(%s, c.oid, %s)"""


def names(connection: Catalogue, query: LiteralString, *parameters: object) -> set[object]:
    return {row[0] for row in connection.execute(query, parameters)}


def test_no_role_is_more_than_an_ordinary_one(catalogue: Catalogue) -> None:
    assert names(catalogue, EXTRAORDINARY, ROLES) == set()


def test_only_the_services_and_the_migrations_log_in(catalogue: Catalogue) -> None:
    able = names(catalogue, "select rolname from pg_roles where rolname = any (%s) and rolcanlogin", ROLES)
    assert able == {*SERVICES, "precis_owner"}


def test_each_role_is_a_member_of_what_it_must_become_and_nothing_else(catalogue: Catalogue) -> None:
    assert set(catalogue.execute(MEMBERSHIPS, {"roles": ROLES})) == {
        ("authenticator", "pgrest_anon"),
        ("authenticator", "pgrest_auth"),
        ("listener_events", "event_reader"),
        ("precis_owner", "precis_definer"),
    }


def test_the_logins_have_no_rights_of_the_roles_they_may_become(catalogue: Catalogue) -> None:
    able = names(catalogue, "select rolname from pg_roles where rolname = any (%s) and rolinherit", ROLES)
    assert able == {"precis_owner"}


@pytest.mark.parametrize(
    ("role", "schemas"),
    [
        ("pgrest_anon", {"public", "gate"}),
        ("pgrest_auth", {"public", "gate"}),
        ("event_reader", {"public", "gate"}),
        ("authenticator", {"gate"}),
        ("authsvc", {"private"}),
        ("listener", {"private"}),
        ("listener_events", {"private", "gate"}),
    ],
)
def test_a_role_enters_its_schemas_only_and_makes_nothing_there(
    role: str, schemas: set[object], catalogue: Catalogue
) -> None:
    assert names(catalogue, SCHEMAS, role, "usage") == schemas
    assert names(catalogue, SCHEMAS, role, "create") == set()
    makes = "select has_database_privilege(%s, current_database(), 'create, temporary')"
    assert names(catalogue, makes, role) == {False}


def test_the_authenticator_owns_nothing_and_reads_nothing(catalogue: Catalogue) -> None:
    owned = "select objid from pg_shdepend where refobjid = 'authenticator'::regrole and deptype = 'o'"
    assert names(catalogue, owned) == set()
    assert names(catalogue, TABLES, "authenticator", "select, insert, update, delete") == set()


TELL = "private.tell(text,text)"
OF_EVERY_CLIENT = {
    "gate.claims()", "gate.uid()", "gate.header(text)", "gate.pre_request()", "gate.is_fair()",
}  # fmt: skip
OF_A_PERSON = {
    "cancel(uuid)", "retry(uuid)", "gate.cancel(uuid)", "gate.retry(uuid)", "gate.request_state(text)",
    "gate.allowance()", "clear(text)", "gate.clear(text)", "gate.is_affordable(integer,text)",
    "gate.metered(text,text)", "gate.metered(jsonb,text)", "gate.is_let_work(uuid)",
}  # fmt: skip
OF_A_READER = {
    "gate.request_state(text)", "gate.is_affordable(integer,text)", "gate.metered(text,text)",
    "gate.metered(jsonb,text)", "gate.is_let_work(uuid)",
}  # fmt: skip
OF_AUTHSVC_TO_CALL = {
    "private.session_fault(private.session,timestamp with time zone,timestamp with time zone)"
}


@pytest.mark.parametrize(
    ("role", "functions"),
    [
        ("pgrest_anon", OF_EVERY_CLIENT),
        ("pgrest_auth", OF_EVERY_CLIENT | OF_A_PERSON),
        ("authenticator", {"gate.pre_config()"}),
        ("event_reader", (OF_EVERY_CLIENT - {"gate.header(text)"}) | OF_A_READER),
        ("listener_events", {"gate.public_keys()", "private.begin_incarnation()", TELL}),
        ("authsvc", OF_AUTHSVC_TO_CALL | {TELL}),
    ],
)
def test_a_role_calls_these_functions_and_no_other(
    role: str, functions: set[object], catalogue: Catalogue
) -> None:
    assert names(catalogue, FUNCTIONS, role) == functions


PATTERNS: LiteralString = """
    select p.oid::regprocedure::text from pg_operator o join pg_proc p on p.oid = o.oprcode
     where o.oprname ~ '^!?~\\*?$' and p.proname ~ 'regex' and has_function_privilege(%s, p.oid, 'execute')"""


def test_regular_expressions_are_for_everybody_but_the_web_roles(catalogue: Catalogue) -> None:
    readers = {"pgrest_anon", "pgrest_auth", "event_reader"}
    for role in readers:
        assert names(catalogue, PATTERNS, role) == set()
    for role in {*ROLES} - readers:
        assert len(names(catalogue, PATTERNS, role)) == 12


def test_no_role_setting_turns_row_security_off(catalogue: Catalogue) -> None:
    off = "select setrole from pg_db_role_setting, unnest(setconfig) s where s ~ '^row_security'"
    assert names(catalogue, off) == set()


def test_web_roles_read_a_few_tables_and_write_none(catalogue: Catalogue) -> None:
    models = {"model", "host_model"}
    mine = {"request", "job", "result", "partial", "attempt", "event", "event_cursor"}
    assert names(catalogue, COLUMNS, "authenticator", "select") == set()
    assert names(catalogue, COLUMNS, "pgrest_anon", "select") == models
    assert names(catalogue, COLUMNS, "pgrest_auth", "select") == models | mine
    for role in WEB_ROLES:
        assert names(catalogue, COLUMNS, role, "insert, update, references") == set()
        assert names(catalogue, TABLES, role, "delete, truncate, trigger") == set()


def test_nobody_else_has_a_right_on_the_tables_of_authsvc(catalogue: Catalogue) -> None:
    assert names(catalogue, TABLES, "authsvc", "select") == OF_AUTHSVC
    for role in (*WEB_ROLES, "listener", "listener_events"):
        assert not OF_AUTHSVC & names(catalogue, COLUMNS, role, "select, insert, update, references")
        assert not OF_AUTHSVC & names(catalogue, TABLES, role, "delete, truncate, trigger")


def test_nobody_takes_an_event_cursor_away(catalogue: Catalogue) -> None:
    for role in ROLES:
        taken = names(catalogue, TABLES, role, "delete, truncate")
        assert "event_cursor" not in taken or role == "precis_owner"


def test_nobody_changes_the_incarnation_or_begins_one_but_through_its_function(catalogue: Catalogue) -> None:
    for role in {*ROLES} - {"precis_owner"}:
        assert "event_incarnation" not in names(catalogue, COLUMNS, role, "update, references")
        assert "event_incarnation" not in names(catalogue, TABLES, role, "delete, truncate, trigger")
        inserts = "event_incarnation" in names(catalogue, COLUMNS, role, "insert")
        assert inserts == (role == "precis_definer")
        begins = "private.begin_incarnation()" in names(catalogue, FUNCTIONS, role)
        assert begins == (role in ("listener", "listener_events", "precis_definer"))
    nonce: LiteralString = (
        "select has_column_privilege('precis_definer', 'private.event_incarnation', 'nonce', 'insert')"
    )
    assert names(catalogue, nonce) == {False}


def test_who_reads_for_streams_can_write_nothing_at_all(catalogue: Catalogue) -> None:
    assert names(catalogue, COLUMNS, "event_reader", "insert, update, references") == set()
    assert names(catalogue, TABLES, "event_reader", "delete, truncate, trigger") == set()
    views: LiteralString = """
        select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname in ('public', 'gate') and c.relkind = 'v'
           and (has_any_column_privilege('event_reader', c.oid, 'insert, update')
                or has_table_privilege('event_reader', c.oid, 'delete'))"""
    assert names(catalogue, views) == set()
    mine = {"request", "job", "result", "partial", "event", "event_cursor"}
    assert names(catalogue, COLUMNS, "event_reader", "select") == mine


@pytest.mark.parametrize(
    "statement",
    [
        "insert into public.requests (task, text) values ('summarize', 'Text.')",
        "update public.requests set title = 'mine'",
        "delete from public.requests",
        "select from public.cancel(gen_random_uuid())",
        "select from public.retry(gen_random_uuid())",
    ],
)
def test_the_event_service_cannot_act_as_a_person(statement: LiteralString, settled: Database) -> None:
    with settled.connect("listener_events") as connection:
        connection.execute("set role event_reader")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
        connection.execute("reset role")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("set role pgrest_auth")


def test_the_listener_does_not_change_whose_a_job_is_or_of_what(settled: Database) -> None:
    for column in ("id", "owner", "request_id", "model_id", "kind", "priority"):
        change = sql.SQL("update private.job set {0} = {0}").format(sql.Identifier(column))
        with settled.connect("listener") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(change)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("account", {"id", "banned_at", "password_changed_at"}),
        ("signing_key", {"public_jwk", "state", "created_at"}),
    ],
)
def test_the_definer_sees_no_password_and_no_private_key(
    table: str, columns: set[object], catalogue: Catalogue
) -> None:
    readable: LiteralString = """
        select a.attname from pg_attribute a
         where a.attrelid = ('private.' || %s)::regclass and a.attnum > 0 and not a.attisdropped
           and has_column_privilege('precis_definer', a.attrelid, a.attnum, 'select')"""
    assert names(catalogue, readable, table) == columns


@pytest.mark.parametrize(
    "statement",
    [
        "delete from private.event_incarnation",
        "truncate private.event_incarnation",
        "update private.event_incarnation set nonce = gen_random_uuid()",
        "insert into private.event_incarnation (nonce) values (gen_random_uuid())",
        "insert into private.event_incarnation (only_row) values (true)",
        "select * from private.event_incarnation",
    ],
)
def test_a_client_neither_reads_nor_changes_the_incarnation(
    statement: LiteralString, settled: Database
) -> None:
    for role in WEB_ROLES[:2]:
        with settled.connect("authenticator") as connection:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "create table private.mine ()",
        "create table public.mine ()",
        "create function gate.mine() returns int return 1",
        "create schema mine",
        "create temporary table mine ()",
        "alter table private.account add column mine int",
        "drop table private.audit",
        "truncate private.audit",
        "alter table private.job disable row level security",
        "create policy mine on private.job to public using (true)",
        "set role precis_owner",
        "set role precis_definer",
        "set session authorization precis_owner",
    ],
)
def test_a_service_cannot_change_the_schema(statement: LiteralString, settled: Database) -> None:
    for role in SERVICES:
        with settled.connect(role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_authsvc_cannot_read_the_queue(settled: Database) -> None:
    for table in ("request", "job", "result", "partial", "event", "event_cursor", "slot", "worker", "bell"):
        query = sql.SQL("select * from private.{}").format(sql.Identifier(table))
        with settled.connect("authsvc") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(query)


def test_a_password_is_set_when_it_is_given_and_left_alone_when_it_is_not(settled: Database) -> None:
    stored = "select rolpassword from pg_authid where rolname = 'authsvc'"
    roles = str(ROOT / "sql/roles.sql")
    settled.cluster.psql("postgres", "-v", "authsvc_password=it's one", "-f", roles)
    given = settled.cluster.psql("postgres", "-At", "-c", stored)
    settled.cluster.psql("postgres", "-f", roles)
    assert given.startswith("SCRAM-SHA-256$")
    assert settled.cluster.psql("postgres", "-At", "-c", stored) == given
