-- What clients see of requests and do with them: the views, and what stands behind an insert, a change and a call.
-- Locks: none on existing tables.

-- migrate:up
-- functions/gate.request_state.sql
create or replace function gate.request_state(job_state text) returns text language sql immutable set search_path = '' as $$
  select case job_state when 'ready' then 'queued' when 'waiting' then 'running' else job_state end
$$;
comment on function gate.request_state(text) is 'The public state of a request, from the state of its root job.';
grant execute on function gate.request_state(text) to pgrest_auth, event_reader, precis_definer;

create view public.requests with (security_invoker = true) as
  select r.id, gate.metered(r.title, 'title') as title, r.task, gate.metered(r.text, 'text') as text, r.document_id,
         gate.metered(r.url, 'url') as url, r.target_words, r.target_ratio, r.style, r.language, r.model, j.priority, j.run_at,
         gate.request_state(j.state) as state, j.progress, gate.metered(s.body, 'result') as result,
         gate.metered(s.checks, 'checks') as checks, gate.metered(s.engine, 'engine') as engine,
         case when j.state = 'failed' then j.error_code end as error_code,
         case when j.state = 'failed' then gate.metered(j.error_message, 'error_message') end as error_message,
         r.created_at, j.updated_at, j.finished_at
    from private.request r
    join private.job j on j.id = r.job_id
    left join private.result s on s.request_id = r.id
   where gate.is_fair()  -- and of each row that a table is asked for, whichever is asked first
     and case when clock_timestamp() > statement_timestamp() + interval '100 ms' then gate.is_let_work(r.id) else true end
     and case when clock_timestamp() > statement_timestamp() + interval '100 ms' then gate.is_let_work(j.request_id) else true end;
comment on view public.requests is 'Your requests. Insert one to have a text summarised or shortened; delete one to cancel and forget it.';
comment on column public.requests.id is 'Made by the server.';
comment on column public.requests.title is 'Yours, up to 300 characters; may change at any time.';
comment on column public.requests.task is 'summarize or shorten.';
comment on column public.requests.text is 'The text itself, up to 1 MiB. Exactly one of text, document_id and url.';
comment on column public.requests.document_id is 'A stored document as the source.';
comment on column public.requests.url is 'An address as the source.';
comment on column public.requests.target_words is 'How many words the result should have. At most one of target_words and target_ratio.';
comment on column public.requests.target_ratio is 'How long the result should be as a share of the source, between 0 and 1.';
comment on column public.requests.style is 'plain, bullets or headline.';
comment on column public.requests.language is 'Language of the result as a BCP 47 tag; null for that of the source.';
comment on column public.requests.model is 'A name from /models; null takes the default.';
comment on column public.requests.priority is '-1, 0 or 1, among your own requests. May change while queued.';
comment on column public.requests.run_at is 'Not before this time; null is now. May change while queued.';
comment on column public.requests.state is 'queued, running, done, failed or cancelled.';
comment on column public.requests.progress is 'Between 0 and 1.';
comment on column public.requests.result is 'The summary or the shortened text, once done.';
comment on column public.requests.checks is 'What was measured on the result without a model: length, language, numbers, names, quotes and more.';
comment on column public.requests.engine is 'What made the result: engine, model, token counts, durations.';
comment on column public.requests.error_code is 'A stable word, if failed.';
comment on column public.requests.error_message is 'What to do about it, if failed.';
comment on column public.requests.created_at is 'When the request was accepted.';
comment on column public.requests.updated_at is 'When its state last changed.';
comment on column public.requests.finished_at is 'When it ended.';
-- Of every column: the triggers refuse those that are not a client's to set, in words that tell what to do.
grant select, insert, update, delete on public.requests to pgrest_auth;
grant select on public.requests to event_reader;

-- functions/private.take_turn.sql
create or replace function private.take_turn(owner uuid) returns void language sql volatile set search_path = '' as
  $$ select pg_advisory_xact_lock(hashtextextended('precis.take_turn ' || owner, 0)) $$;
comment on function private.take_turn(uuid) is
  'Changes to the rows of one account wait for each other here: two statements over several of them would lock jobs and the event cursor crosswise. Workers do not pass here; they give way and try again.';
alter function private.take_turn(uuid) owner to precis_definer;
create or replace function private.take_turn() returns void language sql volatile set search_path = '' as
  $$ select private.take_turn(gate.uid()) $$;
comment on function private.take_turn() is 'The turn of whoever is signed in.';
alter function private.take_turn() owner to precis_definer;

-- functions/private.check_request.sql
create or replace function private.check_request(new public.requests) returns void language plpgsql stable set search_path = '' as $$
declare
  fault text[] := case
    when new.task is null or new.task not in ('summarize', 'shorten') then array['unknown_task',
      'The task must be summarize or shorten.']
    when char_length(new.url) > 2048 then array['url_too_long',
      'An address has at most 2048 characters.']
    when char_length(new.model) > 200 then array['model_too_long',
      'The name of a model has at most 200 characters. GET /models lists them.']
    when char_length(new.language) > 35 then array['language_too_long',
      'A language tag has at most 35 characters: en, de or pt-BR.']
    when num_nonnulls(new.text, new.document_id, new.url) = 0 then array['no_source',
      'Nothing to work on: give the text.']
    when num_nonnulls(new.text, new.document_id, new.url) > 1 then array['several_sources',
      'Give exactly one of text, document_id and url.']
    when new.text is null then array['source_not_supported',
      'This server reads text only: put the text itself into text.']
    when octet_length(new.text) > 1048576 then array['text_too_large',
      'The text is larger than 1 MiB. Split it and send the parts one by one.']
    when new.text !~ '[[:alnum:]]' then array['empty_text',
      'The text holds no letter or digit. Give a text that says something.']
    when num_nonnulls(new.target_words, new.target_ratio) > 1 then array['several_targets',
      'Give target_words or target_ratio, not both.']
    when new.target_words not between 1 and 20000 then array['invalid_target_words',
      'target_words must be between 1 and 20000.']
    when new.target_ratio <= 0 or new.target_ratio >= 1 or new.target_ratio = 'NaN' then array['invalid_target_ratio',
      'target_ratio must be above 0 and below 1: 0.3 asks for three tenths of the length.']
    when new.style not in ('plain', 'bullets', 'headline') then array['unknown_style',
      'The style must be plain, bullets or headline.']
    when new.language !~ '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$' then array['invalid_language',
      'language must be a BCP 47 tag such as en, de or pt-BR; leave it out for the language of the source.']
    when char_length(new.title) > 300 then array['title_too_long',
      'A title has at most 300 characters.']
    when new.priority not between -1 and 1 then array['invalid_priority',
      'priority must be -1, 0 or 1.']
    when new.run_at > now() + interval '1 year' or new.run_at = 'infinity' then array['invalid_run_at',
      'run_at must lie within a year from now.']
    end;
begin
  if fault is not null then
    perform gate.refuse(case fault[1] when 'text_too_large' then 413 else 422 end, fault[1], fault[2]);
  end if;
end $$;
comment on function private.check_request(public.requests) is
  'Refuses a request that cannot be accepted, with a code and a sentence. The tables guard themselves as well.';
alter function private.check_request(public.requests) owner to precis_definer;

-- functions/private.idempotency_key.sql
create or replace function private.idempotency_key() returns text language plpgsql volatile set search_path = '' as $$
declare
  key text := gate.header('Idempotency-Key');
begin
  if key is null then return null; end if;
  if key !~ '^[\x21-\x7e]{1,255}$' then
    perform gate.refuse(400, 'invalid_idempotency_key', 'An Idempotency-Key is 1 to 255 printable ASCII characters without spaces.');
  end if;
  if current_setting('precis.key_used', true) = 'yes' then
    perform gate.refuse(400, 'idempotency_needs_one_row', 'An Idempotency-Key names one request. Send one row, or no key.');
  end if;
  perform set_config('precis.key_used', 'yes', true);
  return key;
end $$;
comment on function private.idempotency_key() is 'The key that this HTTP request carries. It cannot be right for several rows.';
alter function private.idempotency_key() owner to precis_definer;

-- functions/private.answer.sql
create or replace function private.answer(status int, id uuid, replayed boolean) returns void language plpgsql volatile set search_path = '' as $$
declare
  several constant boolean := current_setting('precis.answered', true) = 'yes';
begin
  perform set_config('precis.answered', 'yes', true);
  perform set_config('response.status', status::text, true);
  -- The last row's Location would win: several rows get none.
  perform set_config('response.headers', case
    when several then '[]'
    when replayed then jsonb_build_array(jsonb_build_object('Location', '/requests?id=eq.' || id),
                                         jsonb_build_object('Idempotent-Replayed', 'true'))::text
    else jsonb_build_array(jsonb_build_object('Location', '/requests?id=eq.' || id))::text end, true);
end $$;
comment on function private.answer(int, uuid, boolean) is 'Sets the HTTP status and the headers of an accepted request.';
alter function private.answer(int, uuid, boolean) owner to precis_definer;

-- functions/private.request_row.sql
create or replace function private.request_row(request_id uuid) returns public.requests language sql stable set search_path = '' as $$
  select r.id, r.title, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style, r.language, r.model,
         j.priority, j.run_at, gate.request_state(j.state), j.progress, s.body, s.checks, s.engine,
         case when j.state = 'failed' then j.error_code end, case when j.state = 'failed' then j.error_message end,
         r.created_at, j.updated_at, j.finished_at
    from private.request r join private.job j on j.id = r.job_id
    left join private.result s on s.request_id = r.id
   where r.id = request_row.request_id
$$;
comment on function private.request_row(uuid) is 'The row as its owner sees it.';
alter function private.request_row(uuid) owner to precis_definer;

-- functions/private.replay_request.sql
create or replace function private.replay_request(stored private.request, hash bytea) returns public.requests
  language plpgsql volatile set search_path = '' as $$
begin
  if stored.body_hash <> hash then
    perform gate.refuse(422, 'idempotency_key_reused',
      'This Idempotency-Key belongs to another request of yours. Use a new key for a new request.');
  end if;
  perform private.answer(200, stored.id, true);
  return private.request_row(stored.id);
end $$;
comment on function private.replay_request(private.request, bytea) is
  'Answers a key that was seen before: the same row for the same body.';
alter function private.replay_request(private.request, bytea) owner to precis_definer;

-- functions/private.max_affected.sql
create or replace function private.max_affected() returns int language sql stable set search_path = '' as $$
  select coalesce(min(said[1]::int), 100)
    from regexp_matches(gate.header('Prefer'), '(?:^|,)\s*max-affected\s*=\s*"?(\d{1,8})"?\s*(?=$|[,;])', 'gi') said
$$;
comment on function private.max_affected() is
  'How many rows the client lets its request change: what it says with Prefer: max-affected (PostgREST''s own word from 13 on), or 100. Of several such headers only the last is seen.';
alter function private.max_affected() owner to precis_definer;

-- functions/private.count_rows.sql
create or replace function private.count_rows() returns void language plpgsql volatile set search_path = '' as $$
declare
  rows constant int := coalesce(nullif(current_setting('precis.rows', true), ''), '0')::int + 1;
  is_insert constant boolean := current_setting('request.method', true) = 'POST';
  asked int;
begin
  if coalesce(current_setting('request.method', true), '') = '' then return; end if;
  perform set_config('precis.rows', rows::text, true);
  if is_insert and rows > 1000 then
    perform gate.refuse(413, 'too_many_rows', 'This is more than 1000 requests at once. Send them in several parts.');
  elsif is_insert and clock_timestamp() > statement_timestamp() + interval '7 s' then  -- before statement_timeout says so
    perform gate.refuse(413, 'too_many_rows', 'So many requests take longer to store than a request may. Send fewer at once.');
  elsif not is_insert then
    asked := private.max_affected();
    if rows > least(asked, 1000) then
      perform gate.refuse(400, 'too_many_rows', format('This would change more than %s requests.', least(asked, 1000))
                          || case when asked < 1000 then ' Name fewer rows, or say how many it may be: the header Prefer: max-affected=1000 allows most.'
                                  else ' Name fewer rows, or use POST /rpc/clear.' end);
    end if;
  end if;
end $$;
comment on function private.count_rows() is 'Counts the rows that an HTTP request adds, changes or deletes, and refuses it when they become too many.';
alter function private.count_rows() owner to precis_definer;

-- functions/private.insert_request.sql
create or replace function private.insert_request() returns trigger language plpgsql security definer set search_path = ''
  set enable_seqscan = off set jit = off as $$
declare
  me constant uuid := gate.uid();
  key constant text := private.idempotency_key();
  -- Of every column, so that a new one counts as well; one instant, whatever zone the client prefers to read it in.
  hash constant bytea := sha256(convert_to((to_jsonb(new) || jsonb_build_object('run_at', new.run_at at time zone 'UTC'))::text, 'UTF8'));
  bytes constant int := coalesce(octet_length(new.text), 0) + coalesce(octet_length(new.title), 0) + coalesce(octet_length(new.url), 0)
    + coalesce(octet_length(new.style), 0) + coalesce(octet_length(new.language), 0) + coalesce(octet_length(new.model), 0)
    + coalesce(octet_length(key), 0);
  model private.model;
  allowed private.allowance;
  step bigint;
  used private.event_cursor;
  stored private.request;
begin
  perform private.count_rows();
  if num_nonnulls(new.id, new.state, new.progress, new.result, new.checks, new.engine, new.error_code, new.error_message,
                  new.created_at, new.updated_at, new.finished_at) > 0 then
    perform gate.refuse(422, 'read_only_column', 'id, state, progress, result and what else a request comes to are the server''s to say. Leave them out.',
                        'A request needs a task and a text; title, target_words, target_ratio, style, language, model, priority and run_at are yours as well.');
  end if;
  if current_setting('precis.shows_rows', true) = 'yes' then
    perform gate.metered(new.text, 'text'), gate.metered(new.title, 'title'), gate.metered(new.url, 'url');
  end if;
  if key is not null then
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_request(new);
  model := private.resolve_model(new.model);
  allowed := private.allowance_of(me);
  step := private.step_of(model, allowed);
  -- The lock that orders this owner's events orders their tags and guards their quotas as well. What can be known before it is.
  select * into used from private.event_cursor c
   where c.owner = me and c.block >= coalesce((select e.n >> 4 from private.event e where e.owner = me order by e.n desc limit 1), 0)
     for no key update skip locked;
  if not found then used := private.lock_cursor(me); end if;  -- apart: it costs a subtransaction to wait
  if key is not null then  -- the same key, a moment ago: no new request, so no quota is asked
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_quota(used, allowed, bytes);
  insert into private.request (owner, title, task, text, document_id, url, target_words, target_ratio, style, language,
                               model, idempotency_key, body_hash, bytes)
    values (me, new.title, new.task, new.text, new.document_id, new.url, new.target_words, new.target_ratio,
            coalesce(new.style, 'plain'), new.language, model.name, key, hash, bytes) returning * into stored;
  insert into private.job (id, request_id, owner, model_id, priority, rank, tag, run_at)
    values (stored.job_id, stored.id, me, model.id, coalesce(new.priority, 0), 2 * coalesce(new.priority, 0),
            private.next_tag(me, model, step), case when new.run_at > now() then new.run_at end);
  if new.run_at is null or new.run_at <= now() then perform private.ring(); end if;
  perform private.answer(202, stored.id, false);
  return private.request_row(stored.id);
end $$;
comment on function private.insert_request() is
  'Stores a request and its root job, or answers a replay. The owner comes from the verified token, never from the row.';
alter function private.insert_request() owner to precis_definer;

-- functions/private.refuse_empty_insert.sql
create or replace function private.refuse_empty_insert() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('precis.answered', true) is distinct from 'yes' then
    perform gate.refuse(400, 'no_rows', 'The body holds no row. Send an object, or a list of objects.');
  end if;
  return null;
end $$;
comment on function private.refuse_empty_insert() is
  'A body such as null, [] or "text" is no row to PostgREST, which would answer 201 and keep nothing.';
alter function private.refuse_empty_insert() owner to precis_definer;

-- functions/private.note_change.sql
create or replace function private.note_change(change jsonb) returns void language sql volatile set search_path = '' as $$
  select set_config('precis.changes', coalesce(current_setting('precis.changes', true), '') || change || chr(10), true)
$$;
comment on function private.note_change(jsonb) is
  'Keeps what is to be done to one row until all rows of the statement are known: their jobs are locked in one order, before the event cursor, as workers do.';
alter function private.note_change(jsonb) owner to precis_definer;

-- functions/private.update_request.sql
create or replace function private.update_request() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  change jsonb := '{}';
begin
  perform private.count_rows();
  if (new.priority, new.run_at) is distinct from (old.priority, old.run_at) then
    new.priority := coalesce(new.priority, 0::smallint);
    perform private.check_request(new);
    change := jsonb_build_object('priority', new.priority);
    -- What the person left alone keeps its newest value: a worker may write it until the job is locked.
    if new.run_at is distinct from old.run_at then change := change || jsonb_build_object('run_at', new.run_at); end if;
    if new.run_at <= now() then new.run_at := null; end if;
    new.updated_at := now();
  end if;
  if new.title is distinct from old.title then
    if char_length(new.title) > 300 then
      perform gate.refuse(422, 'title_too_long', 'A title has at most 300 characters.');
    end if;
    change := change || jsonb_build_object('title', new.title);
  end if;
  if change <> '{}' then perform private.note_change(change || jsonb_build_object('id', old.id)); end if;
  return new;
end $$;
comment on function private.update_request() is 'Checks and notes what a person may change, the title, and priority and time while queued, to be done once all rows are known.';
alter function private.update_request() owner to precis_definer;

-- functions/private.delete_request.sql
create or replace function private.delete_request() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  perform private.count_rows();
  perform private.note_change(jsonb_build_object('id', old.id));
  return old;
end $$;
comment on function private.delete_request() is 'Notes a request that is to be deleted once all of them are known.';
alter function private.delete_request() owner to precis_definer;

-- functions/private.lock_own.sql
create or replace function private.lock_own(requests uuid[], changes int) returns void language plpgsql volatile set search_path = '' as $$
begin
  perform private.take_turn();
  perform from private.job j where j.id = any (array(select unnest(private.jobs_of(r)) from unnest(requests) r)) and j.owner = gate.uid()
    order by j.id for no key update;
  perform private.charge_changes(private.lock_cursor(gate.uid()), changes);
end $$;
comment on function private.lock_own(uuid[], int) is
  'Locks what a change of these requests of the caller needs: their jobs in order, then the event cursor, as a finish does. Counts the changes.';
alter function private.lock_own(uuid[], int) owner to precis_definer;

-- functions/private.delete_own.sql
create or replace function private.delete_own(requests uuid[]) returns void language plpgsql volatile set search_path = '' as $$
begin
  -- Whoever runs one finds its claim gone, and is told so at once.
  perform private.tell('precis_control', r::text) from unnest(requests) r
    where exists (select from private.job j where j.id = any (private.jobs_of(r)) and j.state = 'running');
  delete from private.partial p where p.request_id = any (requests);
  delete from private.request r where r.id = any (requests) and r.owner = gate.uid();
end $$;
comment on function private.delete_own(uuid[]) is
  'Cancels and forgets requests of the caller: jobs, result and partial text go along. Needs the locks of private.lock_own.';
alter function private.delete_own(uuid[]) owner to precis_definer;

-- functions/private.change_own.sql
create or replace function private.change_own(change jsonb) returns void language plpgsql volatile set search_path = '' as $$
declare
  job private.job;
begin
  select j.* into job from private.request r join private.job j on j.id = r.job_id
   where r.id = (change ->> 'id')::uuid and r.owner = gate.uid();
  if not found then return; end if;  -- gone since the statement saw it
  if change ? 'priority' then
    if job.state <> 'ready' then
      perform gate.refuse(409, 'not_queued', 'Only a queued request can get another priority or time.');
    end if;
    job.priority := (change ->> 'priority')::smallint;
    if change ? 'run_at' then job.run_at := (change ->> 'run_at')::timestamptz; end if;
    if job.run_at <= now() then job.run_at := null; end if;
    -- What waited in its owner's turn keeps it, whatever its priority is now.
    update private.job j set priority = job.priority, rank = 2 * job.priority + (j.epoch > 0)::int, run_at = job.run_at, updated_at = now(),
           tag = case when job.run_at is null and j.run_at is not null then private.fair_tag(j.owner, j.model_id) else j.tag end
     where j.id = job.id;
    if job.run_at is null then perform private.ring(); end if;
  end if;
  if change ? 'title' then update private.request r set title = change ->> 'title' where r.id = (change ->> 'id')::uuid; end if;
end $$;
comment on function private.change_own(jsonb) is 'Gives a request of the caller the title, priority or time noted. Needs the locks of private.lock_own.';
alter function private.change_own(jsonb) owner to precis_definer;

-- functions/private.apply_changes.sql
create or replace function private.apply_changes() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  changes constant jsonb[] := array(select line::jsonb from string_to_table(rtrim(current_setting('precis.changes', true), chr(10)), chr(10)) line);
begin
  perform set_config('precis.changes', '', true);
  if cardinality(changes) = 0 then return null; end if;
  begin
    perform private.lock_own(array(select (c ->> 'id')::uuid from unnest(changes) c), cardinality(changes));
    if tg_op = 'DELETE' then
      perform private.delete_own(array(select (c ->> 'id')::uuid from unnest(changes) c));
    else
      perform private.change_own(c) from unnest(changes) c;
    end if;
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
  return null;
end $$;
comment on function private.apply_changes() is 'Does what the rows of a client''s PATCH or DELETE have noted.';
alter function private.apply_changes() owner to precis_definer;

-- functions/private.check_change.sql
create or replace function private.check_change() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if coalesce(current_setting('request.method', true), '') = '' then return null; end if;  -- nobody at PostgREST
  perform gate.check_statement();
  if tg_op <> 'INSERT' and strpos(current_query(), ' WHERE ') = 0 then
    perform gate.refuse(400, 'no_filter', format('Without a filter this would %s all your requests: name the rows, as in ?id=eq.<id>.',
                        case tg_op when 'DELETE' then 'delete' else 'change' end),
                        'POST /rpc/clear {"state": "done"} deletes all that are done, and so on for each state.');
  end if;
  if tg_op <> 'INSERT' then
    perform private.check_rate(c) from private.event_cursor c where c.owner = gate.uid();
  end if;
  perform set_config('precis.shows_rows', case when strpos(current_query(), 'RETURNING 1)') = 0 then 'yes' end, true);
  return null;
end $$;
comment on function private.check_change() is
  'Refuses a statement of a client before it touches a row: one that no view has looked at, and one that names no rows. Notes whether the rows are to be answered.';
alter function private.check_change() owner to precis_definer;

-- functions/private.refuse_read_only.sql
create or replace function private.refuse_read_only() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  perform gate.refuse(422, 'read_only_column', 'Of a request that is there only title, priority and run_at can be changed. Leave out the rest.',
                      'POST /rpc/cancel and POST /rpc/retry change its state; for another text send a new request.');
  return null;
end $$;
comment on function private.refuse_read_only() is 'Refuses an UPDATE that names a column which clients may not change, whatever value it gives.';
alter function private.refuse_read_only() owner to precis_definer;

create trigger requests_change_is_fair before insert or update or delete on public.requests for each statement execute function private.check_change();
create trigger requests_keep_the_rest before update of id, task, text, document_id, url, target_words, target_ratio, style, language, model,
  state, progress, result, checks, engine, error_code, error_message, created_at, updated_at, finished_at
  on public.requests for each statement execute function private.refuse_read_only();
create trigger requests_changes_are_made after update or delete on public.requests for each statement execute function private.apply_changes();
create trigger requests_insert instead of insert on public.requests for each row execute function private.insert_request();
create trigger requests_insert_has_rows after insert on public.requests for each statement execute function private.refuse_empty_insert();
create trigger requests_update instead of update on public.requests for each row execute function private.update_request();
create trigger requests_delete instead of delete on public.requests for each row execute function private.delete_request();

-- functions/private.check_own.sql
create or replace function private.check_own(request_id uuid) returns void language plpgsql stable set search_path = '' as $$
begin
  perform from private.request r where r.id = request_id and r.owner = gate.uid();
  if not found then perform gate.refuse(404, 'request_not_found', 'You have no request with this id.'); end if;
end $$;
comment on function private.check_own(uuid) is 'Refuses somebody else''s request as if it were not there.';
alter function private.check_own(uuid) owner to precis_definer;

-- functions/private.cancel.sql
create or replace function private.cancel(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  jobs constant bigint[] := private.jobs_of(request_id);
  was_running boolean;
begin
  perform private.take_turn(r.owner) from private.request r where r.id = cancel.request_id;
  perform from private.job j where j.id = any (jobs) order by j.id for no key update;
  if not found then perform gate.refuse(404, 'request_not_found', 'There is no request with this id.'); end if;
  select bool_or(j.state = 'running') into was_running from private.job j where j.id = any (jobs);
  update private.job j set state = 'cancelled', worker_id = null, deadline_at = null, updated_at = now(), finished_at = now()
   where j.id = any (jobs) and j.state in ('ready', 'running', 'waiting');
  if not found then
    perform from private.job j where j.id = any (jobs) and j.kind = 'root' and j.state = 'cancelled';
    if found then return; end if;
    perform gate.refuse(409, 'already_finished', 'This request has ended already.');
  end if;
  delete from private.partial p where p.request_id = cancel.request_id;
  if was_running then perform private.tell('precis_control', cancel.request_id::text); end if;
end $$;
comment on function private.cancel(uuid) is 'Ends a queued or running request, whoever''s it is, with all its jobs.';
alter function private.cancel(uuid) owner to precis_definer;

-- functions/gate.cancel.sql
create or replace function gate.cancel(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
begin
  perform gate.check_statement();
  perform private.check_own(request_id);
  begin
    perform private.cancel(request_id);
    perform private.charge_changes(private.lock_cursor(gate.uid()), 1);
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
end $$;
comment on function gate.cancel(uuid) is 'Ends a queued or running request of the caller, with all its jobs.';
alter function gate.cancel(uuid) owner to precis_definer;
grant execute on function gate.cancel(uuid) to pgrest_auth;

-- functions/public.cancel.sql
create or replace function public.cancel(id uuid) returns setof public.requests language plpgsql set search_path = '' rows 1 as $$
begin
  perform gate.cancel(cancel.id);
  return query select r.* from public.requests r where r.id = cancel.id;
end $$;
comment on function public.cancel(uuid) is
  'Stops a queued or running request and closes its model call. Cancelling twice is no error.';
grant execute on function public.cancel(uuid) to pgrest_auth;

-- functions/private.retry.sql
create or replace function private.retry(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  job private.job;
begin
  perform private.take_turn(r.owner) from private.request r where r.id = retry.request_id;
  select j.* into job from private.request r join private.job j on j.id = r.job_id
   where r.id = retry.request_id for no key update of j;
  if not found then perform gate.refuse(404, 'request_not_found', 'There is no request with this id.'); end if;
  if job.state not in ('failed', 'cancelled') then
    perform gate.refuse(409, 'not_failed', 'Only a failed or cancelled request can be tried again.');
  end if;
  update private.job j set state = 'ready', attempts = 0, run_at = null, progress = 0, error_code = null, error_message = null,
         started_at = null, tag = private.fair_tag(j.owner, j.model_id), updated_at = now(), finished_at = null
   where j.id = job.id;
  perform private.ring();
end $$;
comment on function private.retry(uuid) is 'Queues a failed or cancelled request again, whoever''s it is.';
alter function private.retry(uuid) owner to precis_definer;

-- functions/gate.retry.sql
create or replace function gate.retry(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  me constant uuid := gate.uid();
  used private.event_cursor;
begin
  perform gate.check_statement();
  perform private.check_own(request_id);
  begin
    perform private.retry(request_id);
    used := private.lock_cursor(me);
    perform private.charge_changes(used, 1);
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
  -- Asked afterwards: the lock on the event cursor comes behind that on the job. The model runs once more.
  used.waiting := used.waiting - 1;  -- without this one
  perform private.check_quota(used, private.allowance_of(me), 0);
  perform private.append_events('request', array[me], array[null::uuid], array[0], array[0::bigint], false);
end $$;
comment on function gate.retry(uuid) is 'Queues a failed or cancelled request of the caller again. It counts as a request of today, without bytes.';
alter function gate.retry(uuid) owner to precis_definer;
grant execute on function gate.retry(uuid) to pgrest_auth;

-- functions/public.retry.sql
create or replace function public.retry(id uuid) returns setof public.requests language plpgsql set search_path = '' rows 1 as $$
begin
  perform gate.retry(retry.id);
  return query select r.* from public.requests r where r.id = retry.id;
end $$;
comment on function public.retry(uuid) is 'Queues a failed or cancelled request again.';
grant execute on function public.retry(uuid) to pgrest_auth;

-- functions/private.clear_own.sql
create or replace function private.clear_own(requests uuid[], job_states text[]) returns int language plpgsql volatile set search_path = '' as $$
begin
  -- The event cursor is locked already: whatever job somebody else holds is passed by, and is for the next call.
  requests := array(select j.request_id from private.request r join private.job j on j.id = r.job_id
                     where r.id = any (requests) and j.state = any (job_states) for no key update of j skip locked);
  if not job_states && '{ready,running}' then
    perform private.delete_own(requests);
  else
    perform private.tell('precis_control', r::text) from unnest(requests) r
      where exists (select from private.job j where j.id = any (private.jobs_of(r)) and j.state = 'running');
    update private.job j set state = 'cancelled', worker_id = null, deadline_at = null, updated_at = now(), finished_at = now()
     where j.id = any (array(select unnest(private.jobs_of(r)) from unnest(requests) r)) and j.state in ('ready', 'running', 'waiting');
    delete from private.partial p where p.request_id = any (requests);
  end if;
  return cardinality(requests);
end $$;
comment on function private.clear_own(uuid[], text[]) is
  'Cancels those of the caller''s requests that are queued or running, deletes those that have ended; how many were in these states and not locked.';
alter function private.clear_own(uuid[], text[]) owner to precis_definer;

-- functions/gate.clear.sql
create or replace function gate.clear(state text) returns json language plpgsql security definer set search_path = '' as $$
declare
  of_jobs constant text[] := case state when 'queued' then '{ready}' when 'running' then '{running,waiting}'
                               when 'done' then '{done}' when 'failed' then '{failed}' when 'cancelled' then '{cancelled}' end;
  requests uuid[];
  cleared int := 0;
  until timestamptz;
begin
  perform gate.check_statement();
  if of_jobs is null then
    perform gate.refuse(422, 'unknown_state', 'Say which requests: the state must be queued, running, done, failed or cancelled.');
  end if;
  requests := array(select r.id from private.request r join private.job j on j.id = r.job_id
                     where r.owner = gate.uid() and j.state = any (of_jobs) order by r.created_at desc limit 10000);
  begin
    perform private.charge_changes(private.lock_cursor(gate.uid()), 1);
    until := clock_timestamp() + interval '40 ms';
    for i in 0 .. (cardinality(requests) - 1) / 50 loop
      cleared := cleared + private.clear_own(requests[i * 50 + 1 : i * 50 + 50], of_jobs);
      exit when clock_timestamp() > until;
    end loop;
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
  return json_build_object('cleared', cleared, 'left', cardinality(requests) - cleared);
end $$;
comment on function gate.clear(text) is
  'As many of the caller''s requests in a state as 40 ms are enough for, so that what waits for their locks need not wait long; how many, and how many are left, of 10,000 at most.';
alter function gate.clear(text) owner to precis_definer;
grant execute on function gate.clear(text) to pgrest_auth;

-- functions/public.clear.sql
create or replace function public.clear(state text) returns json language plpgsql set search_path = '' as $$
begin
  return gate.clear(clear.state);
end $$;
comment on function public.clear(text) is
  'Cancels your requests that are queued or running, or deletes those that are done, failed or cancelled: a batch in each call. Answers how many were cleared, and how many are left: call it until none is.';
grant execute on function public.clear(text) to pgrest_auth;

create view public.attempts with (security_invoker = true) as
  select a.request_id, a.epoch as n, a.claimed_at as started_at, a.ended_at, a.outcome, a.error_code,
         gate.metered(a.error_message, 'error_message') as error_message
    from private.attempt a
   where gate.is_fair()
     and case when clock_timestamp() > statement_timestamp() + interval '100 ms' then gate.is_let_work(a.request_id) else true end;
comment on view public.attempts is 'What was tried for your requests: one row for each attempt that has ended.';
comment on column public.attempts.request_id is 'The request.';
comment on column public.attempts.n is 'Counts the attempts at the request; one that was under way when it was looked at is missing.';
comment on column public.attempts.started_at is 'When a worker took it.';
comment on column public.attempts.ended_at is 'When it ended.';
comment on column public.attempts.outcome is
  'done, failed, cancelled; retried: it failed and was queued again; released: the worker was stopped and gave it back; rescued: the worker died.';
comment on column public.attempts.error_code is 'A stable word, if it failed.';
comment on column public.attempts.error_message is 'What happened, if it failed.';
grant select on public.attempts to pgrest_auth;
create trigger attempts_are_read_only instead of insert or update or delete on public.attempts
  for each row execute function private.refuse_write();

-- The text is put together outside of the grouping: there it is counted each time that it is asked for.
create view public.partials with (security_invoker = true) as
  select p.request_id, p.epoch,
         gate.metered((select string_agg(q.text, '' order by q.n) from private.partial q
                        where q.request_id = p.request_id and q.epoch = p.epoch), 'text') as text, p.n
    from (select request_id, epoch, max(n) as n from private.partial group by request_id, epoch) p
    join private.request r on r.id = p.request_id
    join private.job j on j.id = r.job_id and j.epoch = p.epoch and j.state = 'running'
   where gate.is_fair();
comment on view public.partials is 'The text so far of your running requests, for clients without a stream.';
comment on column public.partials.request_id is 'The running request.';
comment on column public.partials.epoch is 'Which attempt wrote it: if it changes, the text starts anew.';
comment on column public.partials.text is 'The text so far.';
comment on column public.partials.n is 'How many pieces it came in.';
grant select on public.partials to pgrest_auth;
create trigger partials_are_read_only instead of insert or update or delete on public.partials
  for each row execute function private.refuse_write();
create view gate.partial with (security_invoker = true) as
  select p.request_id, p.epoch, p.n, p.text
    from private.partial p
    join private.request r on r.id = p.request_id
    join private.job j on j.id = r.job_id and j.epoch = p.epoch and j.state = 'running';
comment on view gate.partial is
  'Text so far of the running requests of the account that is signed in, piece by piece. For event streams; not exposed.';
grant select on gate.partial to pgrest_auth, event_reader;

notify pgrst, 'reload schema';

-- migrate:down
drop view gate.partial, public.partials, public.attempts;
drop function public.clear(text), gate.clear(text), private.clear_own(uuid[], text[]), public.retry(uuid), gate.retry(uuid), private.retry(uuid), public.cancel(uuid), gate.cancel(uuid), private.cancel(uuid),
  private.check_own(uuid);
drop trigger requests_change_is_fair on public.requests;
drop trigger requests_keep_the_rest on public.requests;
drop trigger requests_changes_are_made on public.requests;
drop trigger requests_insert on public.requests;
drop trigger requests_insert_has_rows on public.requests;
drop trigger requests_update on public.requests;
drop trigger requests_delete on public.requests;
drop function private.refuse_read_only(), private.check_change(), private.apply_changes(), private.change_own(jsonb), private.delete_own(uuid[]),
  private.lock_own(uuid[], int), private.note_change(jsonb), private.count_rows(), private.max_affected(), private.delete_request(), private.update_request(), private.refuse_empty_insert(), private.insert_request(),
  private.replay_request(private.request, bytea), private.request_row(uuid), private.answer(int, uuid, boolean),
  private.idempotency_key(), private.check_request(public.requests), private.take_turn(), private.take_turn(uuid);
drop view public.requests;
drop function gate.request_state(text);
notify pgrst, 'reload schema';
