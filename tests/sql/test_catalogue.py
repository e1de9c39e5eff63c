"""What review forgets, asked of the system catalogues: comments, row security, policies, functions, indexes.

Each query names the offenders, so that a failure says what to mend."""

from collections.abc import Mapping
from typing import LiteralString

import psycopg
import pytest

pytestmark = pytest.mark.sql

Catalogue = psycopg.Connection[tuple[object, ...]]

# What a query selects from: our relations and functions, and the grants on our tables, whole or by column.
RELATION: LiteralString = """(
    select c.*, n.nspname as schema, c.oid::regclass::text as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('public', 'gate', 'private')) c"""
FUNCTION: LiteralString = """(
    select p.*, n.nspname as schema, p.oid::regprocedure::text as name
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
     where n.nspname in ('public', 'gate', 'private')) p"""
GRANT: LiteralString = f"""(
    select c.oid, c.name, a.grantee, c.relowner
      from {RELATION}, aclexplode(c.relacl) a where c.relkind = 'r'
    union
    select c.oid, c.name, a.grantee, c.relowner
      from {RELATION} join pg_attribute t on t.attrelid = c.oid, aclexplode(t.attacl) a
     where c.relkind = 'r') g"""

COMMENTS: Mapping[str, LiteralString] = {
    "a table or view without a comment": f"""
        select c.name from {RELATION} where c.relkind in ('r', 'v')
           and obj_description(c.oid, 'pg_class') is null""",
    "a function without a comment": f"""
        select p.name from {FUNCTION} where obj_description(p.oid, 'pg_proc') is null""",
    "an exposed column without a comment": f"""
        select c.name || '.' || a.attname from {RELATION} join pg_attribute a on a.attrelid = c.oid
         where c.schema = 'public' and c.relkind = 'v' and a.attnum > 0 and not a.attisdropped
           and col_description(c.oid, a.attnum) is null""",
}

EXPOSED: Mapping[str, LiteralString] = {
    "anything but a view in public": f"""
        select c.name from {RELATION} where c.schema = 'public' and c.relkind not in ('v', 'c')""",
    "a view that reads with its owner's rights": f"""
        select c.name from {RELATION} where c.relkind = 'v'
           and coalesce(not 'security_invoker=true' = any (c.reloptions), true)""",
    "a materialized view, foreign table or sequence that a web role may use": f"""
        select c.name from {RELATION}, aclexplode(c.relacl) a
         where c.relkind in ('m', 'f', 'S') and a.grantee::regrole::text in (
           '-', 'pgrest_anon', 'pgrest_auth', 'authenticator')""",
    "a function in public that no web role was granted": f"""
        select p.name from {FUNCTION} where p.schema = 'public' and not exists (
          select from aclexplode(p.proacl) a
           where a.grantee::regrole::text in ('pgrest_anon', 'pgrest_auth'))""",
    # A function of a row's type is a column to PostgREST; as a definer it would read past the policies.
    "a function in public that runs as its owner": f"""
        select p.name from {FUNCTION} where p.schema = 'public' and p.prosecdef""",
}

FUNCTIONS: Mapping[str, LiteralString] = {
    "a function that everybody may execute": f"""
        select p.name from {FUNCTION}, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         where a.grantee = 0""",
    # The body of some was parsed when they were made: no search path changes what it names.
    "a function without a pinned search_path": f"""
        select p.name from {FUNCTION}
         where p.prosqlbody is null and coalesce(not 'search_path=""' = any (p.proconfig), true)""",
    "a definer function of somebody else": f"""
        select p.name from {FUNCTION} where p.prosecdef and p.proowner <> 'precis_definer'::regrole""",
    "a table or view of the definer": """
        select c.oid::regclass::text from pg_class c
         where c.relowner = 'precis_definer'::regrole and c.relkind <> 'S'""",
}

TABLES: Mapping[str, LiteralString] = {
    "a table without row security": f"""
        select c.name from {RELATION} where c.relkind in ('r', 'p') and not c.relrowsecurity""",
    "a table that its owner cannot migrate": f"""
        select c.name from {RELATION} where c.relkind in ('r', 'p') and c.relforcerowsecurity""",
    "a table or view that precis_owner does not own": f"""
        select c.name from {RELATION} where c.relkind <> 'S' and c.relowner <> 'precis_owner'::regrole""",
    "a check without a name that says what it protects": """
        select conname from pg_constraint where contype = 'c' and connamespace = 'private'::regnamespace
           and conname ~ '_check[0-9]*$'""",
    "a time without a time zone": f"""
        select c.name || '.' || a.attname from {RELATION} join pg_attribute a on a.attrelid = c.oid
         where c.schema = 'private' and a.atttypid = 'timestamp'::regtype""",
}

POLICIES: Mapping[str, LiteralString] = {
    "a table without a policy": f"""
        select c.name from {RELATION} where c.relkind = 'r'
           and not exists (select from pg_policy p where p.polrelid = c.oid)""",
    "a policy for everybody": """
        select polrelid::regclass::text || ': ' || polname from pg_policy where 0 = any (polroles)""",
    "a role with a grant on a table and no policy there": f"""
        select g.name || ': ' || g.grantee::regrole from {GRANT}
         where g.grantee <> g.relowner and not exists (
          select from pg_policy p where p.polrelid = g.oid and g.grantee = any (p.polroles))""",
    "a policy for a role without a grant": f"""
        select p.polrelid::regclass::text || ': ' || r::regrole from pg_policy p, unnest(p.polroles) r
         where not exists (select from {GRANT} where g.oid = p.polrelid and g.grantee = r)""",
    "a policy that asks for the account row by row": """
        select tablename || ': ' || policyname from pg_policies
         where qual ~ 'uid' and qual !~ 'SELECT gate.uid'""",
    "a policy that shows a web role more than its own rows, but for the models": """
        select tablename || ': ' || policyname || ': ' || qual from pg_policies
         where roles && array['pgrest_anon', 'pgrest_auth']::name[]
           and tablename not in ('model', 'host_model')
           and qual <> '(owner = ( SELECT gate.uid() AS uid))'""",
    "a policy that lets a web role write": """
        select tablename || ': ' || policyname from pg_policies
         where cmd <> 'SELECT' and roles && array['pgrest_anon', 'pgrest_auth']::name[]""",
}

OFFENDERS = {**COMMENTS, **EXPOSED, **FUNCTIONS, **TABLES, **POLICIES}


@pytest.mark.parametrize("fault", OFFENDERS)
def test_there_is_no(fault: str, catalogue: Catalogue) -> None:
    assert catalogue.execute(OFFENDERS[fault]).fetchall() == []


# Foreign keys whose columns lead no index, with the reason why nobody waits for that.
UNINDEXED_KEYS = {
    "job_model_id_fkey": "models are never deleted",
    "slot_model_id_fkey": "models are never deleted",
}


def test_every_foreign_key_leads_an_index(catalogue: Catalogue) -> None:
    rows = catalogue.execute("""
        select k.conname from pg_constraint k
         where k.contype = 'f' and k.connamespace = 'private'::regnamespace and not exists (
           select from pg_index i where i.indrelid = k.conrelid and i.indpred is null
              and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)""").fetchall()
    assert {row[0] for row in rows} == set(UNINDEXED_KEYS)


# Tables where the policy's column leads no index of all rows, with the reason.
UNINDEXED_OWNERS = {
    "job": "read by id from the request's row, which is found by its owner",
    "result": "read by request_id from the request's row",
}


def test_the_column_of_every_owner_policy_leads_an_index(catalogue: Catalogue) -> None:
    rows = catalogue.execute("""
        select distinct c.relname
          from pg_policies p join pg_class c on c.relname = p.tablename
          join pg_attribute a on a.attrelid = c.oid and a.attname = 'owner'
         where c.relnamespace = 'private'::regnamespace and p.qual ~ 'owner = ' and not exists (
           select from pg_index i
            where i.indrelid = c.oid and i.indpred is null and i.indkey[0] = a.attnum)""").fetchall()
    assert {row[0] for row in rows} == set(UNINDEXED_OWNERS)
