-- The three schemas, who may enter them, and how SQL refuses a request.
--   public   what clients see: security_invoker views and functions, no table
--   gate     helpers that web roles may call but PostgREST does not expose
--   private  every table; web roles have no USAGE
-- Locks: none on existing tables.

-- migrate:up
do $$ begin
  execute format('revoke temporary on database %I from public', current_database());
end $$;
revoke all on schema public from public;
alter default privileges revoke execute on functions from public;

create schema gate;
create schema private;
comment on schema public is 'Precis: summarise and shorten text. Insert a row into requests, watch it change.';
comment on schema gate is 'Called on behalf of clients, never exposed: the pre-request, claims, the readers of event streams.';
comment on schema private is 'Every table of Precis. Off limits to web roles.';

grant usage on schema public, gate to pgrest_anon, pgrest_auth, event_reader;
grant usage on schema private to authsvc, listener, listener_events;
grant usage on schema gate to authenticator, listener_events;
-- CREATE for the definer: a function can only be given to an owner who may create in its schema, and each model gets a
-- sequence of its own from a definer function.
grant usage, create on schema gate, private to precis_definer;
grant usage on schema public to precis_definer;

-- functions/gate.refuse.sql
create or replace function gate.refuse(status int, code text, message text, hint text default null, headers jsonb default '{}')
  returns void language plpgsql set search_path = '' as $$
begin
  raise sqlstate 'PGRST' using
    message = json_build_object('code', code, 'message', message, 'details', null, 'hint', hint)::text,
    detail = json_build_object('status', status, 'headers', headers)::text;
end $$;
comment on function gate.refuse(int, text, text, text, jsonb) is
  'Ends the request with an HTTP status, a stable code and a sentence that tells a person what to do. The JSON form keeps text out of the status line.';
grant execute on function gate.refuse(int, text, text, text, jsonb) to precis_definer;

-- functions/gate.claims.sql
create or replace function gate.claims() returns jsonb language sql stable set search_path = '' as
  $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
comment on function gate.claims() is 'The claims of the verified token, null without one.';
grant execute on function gate.claims() to pgrest_anon, pgrest_auth, event_reader, precis_definer;

-- functions/gate.uid.sql
create or replace function gate.uid() returns uuid language sql stable set search_path = '' as
  $$ select nullif(gate.claims() ->> 'sub', '')::uuid $$;
comment on function gate.uid() is 'The account that is signed in, null for anonymous. Policies use (select gate.uid()).';
grant execute on function gate.uid() to pgrest_anon, pgrest_auth, event_reader, precis_definer;

-- functions/gate.header.sql
create or replace function gate.header(name text) returns text language sql stable set search_path = '' as
  $$ select nullif(current_setting('request.headers', true), '')::json ->> lower(name) $$;
comment on function gate.header(text) is 'A header of the HTTP request, null if it was not sent.';
grant execute on function gate.header(text) to pgrest_anon, pgrest_auth, precis_definer;

-- functions/private.refuse_write.sql
create or replace function private.refuse_write() returns trigger language plpgsql set search_path = '' as $$
begin
  raise insufficient_privilege using message = format('%I can be read only.', tg_table_name);
end $$;
comment on function private.refuse_write() is
  'Stands behind views that nobody may write. Without a trigger Postgres says that it cannot, before it asks who may, and PostgREST makes a 500 of that.';

-- functions/private.tell.sql
create or replace function private.tell(channel text, payload text) returns boolean language plpgsql set search_path = '' as $$
begin
  -- Somebody who listens inside an open transaction keeps the queue from being emptied. Once it is full, every commit that
  -- notifies fails: a client's insert as well. Nobody can catch that, since it happens at the commit itself.
  if pg_notification_queue_usage() > 0.9 then return false; end if;
  perform pg_notify(channel, payload);
  return true;
end $$;
comment on function private.tell(text, text) is
  'NOTIFY, unless the queue is nearly full: whether it was said. A notice only means "look", and everybody who waits for one also looks by themselves.';
grant execute on function private.tell(text, text) to authsvc, listener, listener_events, precis_definer;

notify pgrst, 'reload schema';

-- migrate:down
drop function private.tell(text, text), private.refuse_write(), gate.header(text), gate.uid(), gate.claims(), gate.refuse(int, text, text, text, jsonb);
drop schema gate, private;
comment on schema public is 'standard public schema';
revoke usage on schema public from pgrest_anon, pgrest_auth, event_reader, precis_definer;
grant usage on schema public to public;
alter default privileges grant execute on functions to public;
do $$ begin
  execute format('grant temporary on database %I to public', current_database());
end $$;
notify pgrst, 'reload schema';
