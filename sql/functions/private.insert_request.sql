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
