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

-- functions/gate.refuse_busy.sql
create or replace function gate.refuse_busy() returns void language plpgsql volatile set search_path = '' as $$
begin
  -- Not 503: PostgREST takes that for a lost database, reconnects, and adds a Retry-After of its own.
  perform gate.refuse(409, 'busy', 'Something else holds what this needs. Nothing was changed; try again in a moment.',
                      headers => '{"Retry-After": "1"}');
end $$;
comment on function gate.refuse_busy() is 'What whoever waited too long for a lock is told, instead of 55P03, 40P01 or 57014.';
grant execute on function gate.refuse_busy() to precis_definer;

-- functions/gate.check_statement.sql
create or replace function gate.check_statement() returns void language plpgsql stable security definer set search_path = '' as $$
declare
  asked text := current_query();
begin
  if coalesce(current_setting('request.method', true), '') = '' then return; end if;  -- nobody at PostgREST
  if length(asked) - length(replace(asked, '"', '')) > 800 then
    perform gate.refuse(400, 'question_too_large', 'This names too many columns and conditions. Ask for at most 90 at once.',
                        'A list of values needs one condition: id=in.(...).');
  end if;
  if strpos(asked, '~') + strpos(asked, 'EXPLAIN') + strpos(asked, 'CAST') + strpos(asked, 'pgrst_source_count') = 0 then return; end if;
  -- What PostgREST made of the question, without the names and words in it, which are the client's.
  asked := regexp_replace(asked, '"[^"]*"|''[^'']*''', '', 'g');
  if strpos(asked, '~') > 0 then  -- before the planner compiles the pattern to guess how many rows it fits
    perform gate.refuse(400, 'pattern_not_offered', 'Regular expressions are not offered here. Use like or ilike, with * for anything.');
  end if;
  if asked ~ '^\s*EXPLAIN' or asked ~ 'pgrst_source_count AS \(SELECT 1 FROM .* LIMIT \d' then
    perform gate.refuse(400, 'count_not_offered',
      'count=planned and count=estimated are guesses from everybody''s rows. Ask for count=exact.');
  end if;
  if regexp_count(asked, '\mCAST\s*\(') > regexp_count(asked, '\mCAST\s*\([^()]* AS (text|varchar|character varying)\s*\)') then
    perform gate.refuse(400, 'cast_not_offered', 'A column can be cast to text and to nothing else.');
  end if;
end $$;
comment on function gate.check_statement() is
  'Refuses what a client may not ask PostgREST for: estimates that tell of others'' rows, casts that make much of little (a numeric of eight bytes is 131,072 digits), columns without number.';
alter function gate.check_statement() owner to precis_definer;

-- functions/gate.is_fair.sql
create or replace function gate.is_fair() returns boolean language plpgsql immutable security definer set search_path = '' as $$
begin
  -- Immutable, so that the planner asks once, of whatever statement it plans, EXPLAIN among them, and no row does.
  perform gate.check_statement();
  return true;
end $$;
comment on function gate.is_fair() is 'True in every view that clients read, or the statement is refused while it is planned.';
alter function gate.is_fair() owner to precis_definer;
grant execute on function gate.is_fair() to pgrest_anon, pgrest_auth, event_reader;

-- functions/gate.is_let_work.sql
create or replace function gate.is_let_work(of_row uuid) returns boolean language plpgsql volatile security definer cost 1 set search_path = '' as $$
declare
  is_read constant boolean := coalesce(current_setting('request.method', true) in ('GET', 'HEAD'), false);
  at_once constant int := 3;  -- of the ten connections that PostgREST has for everybody
begin
  if coalesce(current_setting('request.method', true), '') = '' then return true; end if;
  -- Shortly before statement_timeout would say so in words of its own.
  if clock_timestamp() > statement_timestamp() + (case when is_read then interval '2.5 s' else interval '7 s' end) then
    perform gate.refuse(400, 'question_too_costly',
      'This takes longer than a request may. Name fewer rows first, by created_at for instance, and give fewer patterns.');
  end if;
  if current_setting('precis.is_let_work', true) = 'yes' then return true; end if;
  for i in 1 .. at_once loop
    if pg_try_advisory_xact_lock(hashtext('precis.is_let_work'), hashtext(format('%s %s', gate.uid(), i))) then
      perform set_config('precis.is_let_work', 'yes', true);
      return true;
    end if;
  end loop;
  perform gate.refuse(429, 'too_many_at_once',
    format('%s requests of yours are at work on much already. Send this again when one of them is answered.', at_once),
    headers => '{"Retry-After": "1"}');
end $$;
comment on function gate.is_let_work(uuid) is
  'Asked by a statement that reads for long or reads much, for the row it is at: true for a few of an account at once, the others are refused. Short ones never get here.';
alter function gate.is_let_work(uuid) owner to precis_definer;
grant execute on function gate.is_let_work(uuid) to pgrest_auth, event_reader;

-- functions/gate.is_affordable.sql
create or replace function gate.is_affordable(bytes int, name text) returns boolean language plpgsql stable security definer cost 1000
  set search_path = '' as $$
declare
  most constant int := 6500000;
  column_name constant text := format('."%s"', name);
  asked text := current_query();
  times int := 1;
  sum bigint;
begin
  -- A view is asked anew for each naming of its column. A row that a change or a function answers with is made once, and
  -- named as often as the statement does so from there on; or never, where no row is to be answered.
  if current_setting('request.method', true) not in ('GET', 'HEAD') then
    if current_setting('request.path', true) not like '/rpc/%' then asked := substr(asked, strpos(asked, 'RETURNING ')); end if;
    asked := replace(asked, '.*', column_name);
    times := (length(asked) - length(replace(asked, column_name, ''))) / length(column_name);
    if times = 0 then return true; end if;
    times := greatest(times - 1, 1);
  end if;
  sum := coalesce(nullif(current_setting('precis.answer_bytes', true), ''), '0')::bigint + bytes::bigint * times;
  if sum > most then
    perform gate.refuse(400, 'answer_too_large',
      'The texts that this reads come to more than 6.5 MB. Leave out text and result with select=, or ask for fewer rows with limit=.');
  end if;
  -- A search in a long text is work that no row interrupts.
  if sum > 262144 and strpos(current_query(), ' WHERE ') > 0 and strpos(substr(current_query(), strpos(current_query(), ' WHERE ')), column_name) > 0 then
    perform gate.is_let_work(null);
  end if;
  perform set_config('precis.answer_bytes', sum::text, true);
  return true;
end $$;
comment on function gate.is_affordable(int, text) is
  'Adds to what the answer to this HTTP request holds, and refuses it where that is too much: memory of PostgREST and Postgres is everybody''s.';
alter function gate.is_affordable(int, text) owner to precis_definer;
grant execute on function gate.is_affordable(int, text) to pgrest_auth, event_reader;

-- functions/gate.metered.sql
create or replace function gate.metered(value text, name text) returns text language sql stable
  return case when value is null or coalesce(current_setting('request.method', true), '') = ''
                   or gate.is_affordable(octet_length(to_json(value)::text), name) then value end;
comment on function gate.metered(text, text) is
  'A column of a view whose size is a client''s or a model''s to choose, with the name it has there: what PostgREST reads of it is counted.';
grant execute on function gate.metered(text, text) to pgrest_auth, event_reader, precis_definer;
create or replace function gate.metered(value jsonb, name text) returns jsonb language sql stable
  return case when value is null or coalesce(current_setting('request.method', true), '') = ''
                   or gate.is_affordable(octet_length(value::text), name) then value end;
comment on function gate.metered(jsonb, text) is 'The same for JSON.';
grant execute on function gate.metered(jsonb, text) to pgrest_auth, event_reader, precis_definer;

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
drop function private.tell(text, text), private.refuse_write(), gate.metered(jsonb, text), gate.metered(text, text),
  gate.is_affordable(int, text), gate.is_let_work(uuid), gate.is_fair(), gate.check_statement(), gate.refuse_busy(), gate.header(text),
  gate.uid(), gate.claims(), gate.refuse(int, text, text, text, jsonb);
drop schema gate, private;
comment on schema public is 'standard public schema';
revoke usage on schema public from pgrest_anon, pgrest_auth, event_reader, precis_definer;
grant usage on schema public to public;
alter default privileges grant execute on functions to public;
do $$ begin
  execute format('grant temporary on database %I to public', current_database());
end $$;
notify pgrst, 'reload schema';
