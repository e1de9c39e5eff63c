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
  select r.id, r.title, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style, r.language, r.model,
         j.priority, j.run_at, gate.request_state(j.state) as state, j.progress, s.body as result, s.checks, s.engine,
         case when j.state = 'failed' then j.error_code end as error_code,
         case when j.state = 'failed' then j.error_message end as error_message, r.created_at, j.updated_at, j.finished_at
    from private.request r
    join private.job j on j.id = r.job_id
    left join private.result s on s.request_id = r.id;
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
grant select, delete on public.requests to pgrest_auth;
grant select on public.requests to event_reader;
grant insert (title, task, text, document_id, url, target_words, target_ratio, style, language, model, priority, run_at)
  on public.requests to pgrest_auth;
grant update (title, priority, run_at) on public.requests to pgrest_auth;

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

-- functions/private.insert_request.sql
create or replace function private.insert_request() returns trigger language plpgsql security definer set search_path = ''
  set enable_seqscan = off set jit = off as $$
declare
  me constant uuid := gate.uid();
  key constant text := private.idempotency_key();
  hash constant bytea := sha256(convert_to(jsonb_build_array(new.title, new.task, new.text, new.document_id, new.url,
    new.target_words, new.target_ratio, new.style, new.language, new.model, new.priority,
    new.run_at at time zone 'UTC')::text, 'UTF8'));  -- one instant, whatever zone the client prefers to read it in
  bytes constant int := coalesce(octet_length(new.text), 0) + coalesce(octet_length(new.title), 0) + coalesce(octet_length(new.url), 0)
    + coalesce(octet_length(new.style), 0) + coalesce(octet_length(new.language), 0) + coalesce(octet_length(new.model), 0)
    + coalesce(octet_length(key), 0);
  model private.model;
  allowed private.allowance;
  step bigint;
  used private.event_cursor;
  stored private.request;
begin
  if key is not null then
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_request(new);
  model := private.resolve_model(new.model);
  allowed := private.allowance_of(me);
  step := private.step_of(model, allowed);
  -- The lock that orders this owner's events orders their tags and guards their quotas as well. What can be known before it is.
  select * into strict used from private.event_cursor c
   where c.owner = me and c.block >= coalesce((select e.n >> 4 from private.event e where e.owner = me order by e.n desc limit 1), 0)
     for no key update;
  if key is not null then  -- the same key, a moment ago: no new request, so no quota is asked
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_quota(used, allowed, bytes);
  insert into private.request (owner, title, task, text, document_id, url, target_words, target_ratio, style, language,
                               model, idempotency_key, body_hash, bytes)
    values (me, new.title, new.task, new.text, new.document_id, new.url, new.target_words, new.target_ratio,
            coalesce(new.style, 'plain'), new.language, model.name, key, hash, bytes) returning * into stored;
  insert into private.job (id, request_id, owner, model_id, priority, tag, run_at)
    values (stored.job_id, stored.id, me, model.id, coalesce(new.priority, 0),
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

-- functions/private.update_request.sql
create or replace function private.update_request() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  job private.job;
begin
  perform private.take_turn();
  select j.* into job from private.request r join private.job j on j.id = r.job_id
   where r.id = old.id and r.owner = gate.uid() for no key update of j;
  if not found then return null; end if;
  if (new.priority, new.run_at) is distinct from (old.priority, old.run_at) then
    if job.state <> 'ready' then
      perform gate.refuse(409, 'not_queued', 'Only a queued request can get another priority or time.');
    end if;
    if new.priority is null then new.priority := 0; end if;
    -- What the person left alone keeps its newest value: a worker may have written it since the row was read.
    if new.run_at is not distinct from old.run_at then new.run_at := job.run_at; end if;
    perform private.check_request(new);
    if new.run_at <= now() then new.run_at := null; end if;
    -- What waited in its owner's turn keeps it, whatever its priority is now.
    update private.job j set priority = new.priority, run_at = new.run_at, updated_at = now(),
           tag = case when new.run_at is null and j.run_at is not null then private.fair_tag(j.owner, j.model_id) else j.tag end
     where j.id = job.id;
    if new.run_at is null then perform private.ring(); end if;
  end if;
  if new.title is distinct from old.title then
    if char_length(new.title) > 300 then
      perform gate.refuse(422, 'title_too_long', 'A title has at most 300 characters.');
    end if;
    update private.request r set title = new.title where r.id = old.id;
  end if;
  return private.request_row(old.id);
end $$;
comment on function private.update_request() is
  'Changes what a person may change: the title, and priority and time while queued.';
alter function private.update_request() owner to precis_definer;

-- functions/private.delete_request.sql
create or replace function private.delete_request() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  jobs constant bigint[] := private.jobs_of(old.id);
begin
  perform private.take_turn();
  perform from private.job j where j.id = any (jobs) and j.owner = gate.uid() order by j.id for update;
  if not found then return null; end if;
  -- Whoever runs it finds its claim gone, and is told so at once.
  perform private.tell('precis_control', old.id::text) from private.job j where j.id = any (jobs) and j.state = 'running' limit 1;
  delete from private.partial p where p.request_id = old.id;
  delete from private.request r where r.id = old.id and r.owner = gate.uid();
  return old;
end $$;
comment on function private.delete_request() is 'Cancels and forgets: jobs, result and partial text go with the request.';
alter function private.delete_request() owner to precis_definer;

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
  perform private.check_own(request_id);
  perform private.cancel(request_id);
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
  perform private.check_own(request_id);
  perform private.retry(request_id);
  -- Asked afterwards: the lock on the event cursor comes behind that on the job, and was taken with it. The model runs once more.
  select * into strict used from private.event_cursor c
   where c.owner = me and c.block >= coalesce((select e.n >> 4 from private.event e where e.owner = me order by e.n desc limit 1), 0);
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

create view public.attempts with (security_invoker = true) as
  select a.request_id, a.epoch as n, a.claimed_at as started_at, a.ended_at, a.outcome, a.error_code, a.error_message
    from private.attempt a;
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

create view public.partials with (security_invoker = true) as
  select p.request_id, p.epoch, string_agg(p.text, '' order by p.n) as text, max(p.n) as n
    from private.partial p
    join private.request r on r.id = p.request_id
    join private.job j on j.id = r.job_id and j.epoch = p.epoch and j.state = 'running'
   group by p.request_id, p.epoch;
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
drop function public.retry(uuid), gate.retry(uuid), private.retry(uuid), public.cancel(uuid), gate.cancel(uuid), private.cancel(uuid),
  private.check_own(uuid);
drop trigger requests_insert on public.requests;
drop trigger requests_insert_has_rows on public.requests;
drop trigger requests_update on public.requests;
drop trigger requests_delete on public.requests;
drop function private.delete_request(), private.update_request(), private.refuse_empty_insert(), private.insert_request(),
  private.replay_request(private.request, bytea), private.request_row(uuid), private.answer(int, uuid, boolean),
  private.idempotency_key(), private.check_request(public.requests), private.take_turn(), private.take_turn(uuid);
drop view public.requests;
drop function gate.request_state(text);
notify pgrst, 'reload schema';
