-- What only a superuser can take from the web roles: once per database, after roles.sql. Safe to run again.
--   psql -d precis -f sql/database.sql
-- Functions of Postgres itself are neither a cluster's, as roles are, nor an owner's to change, as migrations do.

\set ON_ERROR_STOP on
\set QUIET on

begin;
-- Two at once would change the same rows of the catalogue.
select pg_advisory_xact_lock(7203641119) \g /dev/null

-- Regular expressions: a pattern of a client's own can keep a connection and a core busy until its timeout. Whoever is no
-- web role keeps them: `authenticator` needs them to load PostgREST's schema cache, the last three to look after a database.
select format('revoke execute on function %1$s from public; grant execute on function %1$s to %2$s', p.oid::regprocedure,
              'authenticator, authsvc, listener, listener_events, precis_owner, precis_definer, '
              'pg_monitor, pg_read_all_data, pg_database_owner')
  from pg_catalog.pg_proc p
 where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^(text|name|bpchar)(ic)?regex(eq|ne)$'
   and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)
\gexec
commit;
