-- The roles of Precis and their settings: once per cluster, as a superuser, before the first migration. Safe to run again.
--   psql -v authenticator_password=... -v authsvc_password=... -v listener_password=... \
--        -v listener_events_password=... -v precis_owner_password=... -f sql/roles.sql
-- A password that is not given leaves the role's password alone (peer authentication needs none).

\set ON_ERROR_STOP on
\set QUIET on

select format('create role %I', name)
  from unnest(array['pgrest_anon', 'pgrest_auth', 'event_reader', 'authenticator', 'authsvc', 'listener', 'listener_events',
                    'precis_owner', 'precis_definer']) name
 where not exists (select from pg_roles where rolname = name)
\gexec

alter role pgrest_anon     nologin noinherit nosuperuser nobypassrls nocreatedb nocreaterole noreplication;
alter role pgrest_auth     nologin noinherit nosuperuser nobypassrls nocreatedb nocreaterole noreplication;
alter role event_reader    nologin noinherit nosuperuser nobypassrls nocreatedb nocreaterole noreplication;
alter role precis_definer  nologin noinherit nosuperuser nobypassrls nocreatedb nocreaterole noreplication;
alter role authenticator   login   noinherit nosuperuser nobypassrls nocreatedb nocreaterole noreplication;
alter role authsvc         login   noinherit nosuperuser nobypassrls nocreatedb nocreaterole noreplication;
alter role listener        login   noinherit nosuperuser nobypassrls nocreatedb nocreaterole noreplication;
alter role listener_events login   noinherit nosuperuser nobypassrls nocreatedb nocreaterole noreplication;
alter role precis_owner    login   inherit   nosuperuser nobypassrls nocreatedb nocreaterole noreplication;

-- PostgREST may become exactly these two; the event streams read as the signed-in user, and cannot write as one;
-- migrations hand functions to their definer.
grant pgrest_anon, pgrest_auth to authenticator;
grant event_reader to listener_events;
grant precis_definer to precis_owner;

-- A request that takes longer than this is a mistake, not patience (postgrest needs db-config = true to apply them).
alter role pgrest_anon   set statement_timeout = '500ms';
alter role pgrest_auth   set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '2s';
alter role authenticator set idle_in_transaction_session_timeout = '10s';
alter role authsvc       set statement_timeout = '5s';
alter role authsvc       set lock_timeout = '2s';
alter role authsvc       set idle_in_transaction_session_timeout = '10s';
alter role listener_events set statement_timeout = '8s';
alter role listener_events set idle_in_transaction_session_timeout = '10s';
-- The listener holds one transaction open on purpose: the doorbell's table lock. So no idle limit, and its statements
-- carry their own. Where a client's statement and a claim wait for each other, the claim gives way (it is run again).
alter role listener      set statement_timeout = '30s';
-- The claim gives way in a deadlock: a client's statement locks job rows after its event cursor, a claim the other way
-- round, and the claim can be run again unseen.
alter role listener      set deadlock_timeout = '100ms';
-- What the server says of errors quotes rows and statements, and these hold people's texts: a cast in a select of PostgREST
-- even in the message itself. So a client's errors are not logged (PostgREST tells the client), and those of services without
-- detail and statement.
select format('alter role %I set %s', name, setting)
  from unnest(array['authenticator', 'authsvc', 'listener', 'listener_events']) name
 cross join unnest(array['log_error_verbosity = terse', 'log_min_error_statement = panic', 'log_parameter_max_length = 0',
                         'log_parameter_max_length_on_error = 0']) setting
\gexec
alter role authenticator set log_min_messages = fatal;
-- A migration that cannot get its lock soon must not queue all traffic behind itself.
alter role precis_owner  set lock_timeout = '2s';

\if :{?authenticator_password}
\else
  \set authenticator_password ''
\endif
\if :{?authsvc_password}
\else
  \set authsvc_password ''
\endif
\if :{?listener_password}
\else
  \set listener_password ''
\endif
\if :{?listener_events_password}
\else
  \set listener_events_password ''
\endif
\if :{?precis_owner_password}
\else
  \set precis_owner_password ''
\endif

select format('alter role %I password %L', name, secret)
  from (values ('authenticator', :'authenticator_password'), ('authsvc', :'authsvc_password'),
               ('listener', :'listener_password'), ('listener_events', :'listener_events_password'),
               ('precis_owner', :'precis_owner_password')) given(name, secret)
 where secret <> ''
\gexec
