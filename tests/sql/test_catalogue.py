"""What review forgets, asked of the system catalogues: comments, row security, policies, definer functions, indexes.

Each query names the offenders, so that a failure says what to mend."""

from collections.abc import Mapping
from typing import LiteralString

import psycopg
import pytest

pytestmark = pytest.mark.sql

OURS = "('public', 'gate', 'private')"

# Grants on tables, whole or by column.
TABLE_GRANTS = """
    select c.oid, c.relname, a.grantee from pg_class c, aclexplode(c.relacl) a where c.relnamespace = 'private'::regnamespace
    union select c.oid, c.relname, a.grantee from pg_class c join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
           where c.relnamespace = 'private'::regnamespace"""

OFFENDERS: Mapping[str, LiteralString] = {
    # what clients see
    "an exposed view without a comment": """
        select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'r', 'm', 'f', 'p')
           and obj_description(c.oid) is null""",
    "an exposed column without a comment": """
        select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('v', 'r', 'm', 'f', 'p') and a.attnum > 0
           and not a.attisdropped and col_description(c.oid, a.attnum) is null""",
    "a table, view or function of ours without a comment": f"""
        select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text in {OURS}
           and c.relkind in ('v', 'r', 'm', 'f', 'p') and obj_description(c.oid, 'pg_class') is null
        union all select p.oid::regprocedure::text from pg_proc p where p.pronamespace::regnamespace::text in {OURS}
           and obj_description(p.oid, 'pg_proc') is null""",
    "anything but a view in public": """
        select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind not in ('v', 'c')""",
    "a view that reads with its owner's rights": f"""
        select c.oid::regclass::text from pg_class c where c.relkind = 'v' and c.relnamespace::regnamespace::text in {OURS}
           and coalesce(not 'security_invoker=true' = any (c.reloptions), true)""",
    "a materialized view, foreign table or sequence that a web role may use": """
        select c.oid::regclass::text from pg_class c, aclexplode(c.relacl) a where c.relkind in ('m', 'f', 'S')
           and c.relnamespace <> 'pg_catalog'::regnamespace
           and (a.grantee = 0 or a.grantee::regrole::text in ('pgrest_anon', 'pgrest_auth', 'authenticator'))""",
    "a function in public that no web role was granted": """
        select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'public'::regnamespace and not exists (
          select from aclexplode(p.proacl) a where a.grantee::regrole::text in ('pgrest_anon', 'pgrest_auth'))""",
    "a function in public that runs as its owner": """
        select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prosecdef""",
    # functions
    "a function that everybody may execute": f"""
        select p.oid::regprocedure::text from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         where p.pronamespace::regnamespace::text in {OURS} and a.grantee = 0""",
    "a function without a pinned search_path": f"""
        select p.oid::regprocedure::text from pg_proc p where p.pronamespace::regnamespace::text in {OURS}
           and coalesce(not 'search_path=""' = any (p.proconfig), true)""",
    "a definer function of somebody else": f"""
        select p.oid::regprocedure::text from pg_proc p where p.pronamespace::regnamespace::text in {OURS} and p.prosecdef
           and p.proowner <> 'precis_definer'::regrole""",
    "a relation of the definer": """
        select c.oid::regclass::text from pg_class c where c.relowner = 'precis_definer'::regrole and c.relkind <> 'S'""",
    # tables and policies
    "a table without row security": f"""
        select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text in {OURS}
           and c.relkind in ('r', 'p') and not c.relrowsecurity""",
    "a table that its owner cannot migrate": f"""
        select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text in {OURS}
           and c.relkind in ('r', 'p') and c.relforcerowsecurity""",
    "a relation that precis_owner does not own": f"""
        select c.oid::regclass::text from pg_class c where c.relnamespace::regnamespace::text in {OURS}
           and c.relkind <> 'S' and c.relowner <> 'precis_owner'::regrole""",
    "a table without a policy": """
        select c.oid::regclass::text from pg_class c where c.relnamespace = 'private'::regnamespace and c.relkind = 'r'
           and not exists (select from pg_policy p where p.polrelid = c.oid)""",
    "a policy for everybody": "select polrelid::regclass::text || ': ' || polname from pg_policy where 0 = any (polroles)",
    "a role with a grant on a table and no policy there": f"""
        select g.relname || ': ' || g.grantee::regrole from ({TABLE_GRANTS}) g join pg_class c on c.oid = g.oid
         where c.relkind = 'r' and g.grantee <> c.relowner
           and not exists (select from pg_policy p where p.polrelid = g.oid and g.grantee = any (p.polroles))""",
    "a policy for a role without a grant": f"""
        select c.relname || ': ' || r::regrole from pg_policy p join pg_class c on c.oid = p.polrelid, unnest(p.polroles) r
         where not exists (select from ({TABLE_GRANTS}) g where g.oid = p.polrelid and g.grantee = r)""",
    "a policy of a web role that asks for the account row by row": """
        select p.tablename || ': ' || p.policyname from pg_policies p where p.qual ~ 'uid' and p.qual !~ 'SELECT gate.uid'""",
    "a policy of a web role that lets it write": """
        select p.tablename || ': ' || p.policyname from pg_policies p where p.cmd <> 'SELECT'
           and p.roles && array['pgrest_anon', 'pgrest_auth']::name[]""",
    "a check without a name that says what it protects": """
        select conname from pg_constraint where contype = 'c' and connamespace = 'private'::regnamespace
           and conname ~ '_check[0-9]*$'""",
    "a column of time without a time zone": """
        select a.attrelid::regclass::text || '.' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
         where c.relnamespace = 'private'::regnamespace and a.atttypid = 'timestamp'::regtype""",
}


@pytest.mark.parametrize("fault", OFFENDERS)
def test_there_is_no(fault: str, catalogue: psycopg.Connection[tuple[object, ...]]) -> None:
    assert catalogue.execute(OFFENDERS[fault]).fetchall() == []


# Foreign keys whose columns lead no index, with the reason why nobody waits for that.
UNINDEXED_KEYS = {
    "job_model_id_fkey": "models are never deleted",
    "slot_model_id_fkey": "models are never deleted",
}


def test_every_foreign_key_leads_an_index(catalogue: psycopg.Connection[tuple[object, ...]]) -> None:
    rows = catalogue.execute("""
        select k.conname from pg_constraint k where k.contype = 'f' and k.connamespace = 'private'::regnamespace
           and not exists (select from pg_index i where i.indrelid = k.conrelid and i.indpred is null
                              and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)""").fetchall()
    assert {row[0] for row in rows} == set(UNINDEXED_KEYS)


# Tables where the policy's column leads no index of all rows, with the reason.
UNINDEXED_OWNERS = {"job": "read by request_id from the request's row, which is found by its owner"}


def test_the_column_of_every_owner_policy_leads_an_index(catalogue: psycopg.Connection[tuple[object, ...]]) -> None:
    rows = catalogue.execute("""
        select distinct c.relname from pg_policies p join pg_class c on c.relname = p.tablename
          join pg_attribute a on a.attrelid = c.oid and a.attname = 'owner'
         where c.relnamespace = 'private'::regnamespace and p.qual ~ 'owner = ' and not exists (
           select from pg_index i where i.indrelid = c.oid and i.indpred is null and i.indkey[0] = a.attnum)""").fetchall()
    assert {row[0] for row in rows} == set(UNINDEXED_OWNERS)
