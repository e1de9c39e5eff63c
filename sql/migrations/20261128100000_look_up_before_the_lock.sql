-- An owner's inserts take turns at their event cursor. What a tag and a quota need that the lock does not guard, the model's step
-- and the owner's allowance, is looked up before it.
-- Locks: ACCESS EXCLUSIVE on private.session for an instant: no insert is in the middle of a function that goes.

-- migrate:up
lock table private.session in access exclusive mode;
create function private.step_of(model private.model, allowed private.allowance) returns bigint
  language sql immutable return greatest(2, (model).step / coalesce((allowed).weight, 1))::bigint;
comment on function private.step_of is 'How far apart the tags of an owner''s jobs are: shorter for an owner of more weight.';
alter function private.step_of(private.model, private.allowance) owner to precis_definer;

create function private.next_tag(owner uuid, model private.model, step bigint, priority smallint) returns bigint
  language plpgsql volatile set search_path = '' set enable_seqscan = off set enable_sort = off as $$
declare
  clock_now constant bigint := coalesce(pg_sequence_last_value(model.clock), 0);
  last_tag bigint;
begin
  select j.tag into last_tag from private.job j
   where j.state = 'ready' and j.run_at is null and j.owner = next_tag.owner and j.model_id = next_tag.model.id
     and j.priority = next_tag.priority and (-j.tag) < -(clock_now - next_tag.priority * private.head_start())
   order by (-j.tag) limit 1;
  if found then return last_tag + step; end if;
  return clock_now + step / 2 - priority * private.head_start();
end $$;
comment on function private.next_tag is
  'The tag of a new job: one step behind the owner''s last ready one, or half a step behind the clock. Needs the lock on the owner''s event cursor, and holds it up.';
alter function private.next_tag(uuid, private.model, bigint, smallint) owner to precis_definer;

create or replace function private.fair_tag(owner uuid, model_id int, priority smallint) returns bigint
  language sql volatile security definer set search_path = '' as $$
  select private.next_tag(fair_tag.owner, m, private.step_of(m, private.allowance_of(fair_tag.owner)), fair_tag.priority)
    from private.model m where m.id = fair_tag.model_id
$$;
comment on function private.fair_tag is 'private.next_tag for a job that becomes ready otherwise than by an insert. Needs the same lock.';

create function private.check_quota(used private.event_cursor, allowed private.allowance, bytes bigint) returns void language plpgsql volatile set search_path = '' as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  tomorrow constant int := ceil(extract(epoch from (today + 1)::timestamp - now() at time zone 'UTC'));
begin
  if used.day < today then used.day_requests := 0; used.day_bytes := 0; end if;
  if used.waiting >= allowed.requests_waiting then
    perform private.refuse_waiting(allowed.requests_waiting);
  elsif used.day_requests >= allowed.requests_per_day then
    perform private.refuse_quota('daily_requests_used',
      format('You have sent the %s requests that you may send in a day. Send more after midnight UTC.', allowed.requests_per_day), tomorrow);
  elsif used.day_bytes + bytes > allowed.bytes_per_day then
    perform private.refuse_quota('daily_bytes_used',
      format('With this text you would have sent more than the %s bytes that you may send in a day. Send it after midnight UTC.', allowed.bytes_per_day), tomorrow);
  end if;
end $$;
comment on function private.check_quota(private.event_cursor, private.allowance, bigint) is
  'Refuses one more request with so many bytes if a quota that its owner is allowed is used up. Takes the owner''s event cursor as it is while locked: no two inserts get the last place.';
alter function private.check_quota(private.event_cursor, private.allowance, bigint) owner to precis_definer;

create or replace function private.insert_request() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  me constant uuid := gate.uid();
  key constant text := private.idempotency_key();
  hash constant bytea := sha256(convert_to(jsonb_build_array(new.title, new.task, new.text, new.document_id, new.url,
    new.target_words, new.target_ratio, new.style, new.language, new.model, new.priority,
    new.run_at at time zone 'UTC')::text, 'UTF8'));  -- one instant, whatever zone the client prefers to read it in
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
  select * into strict used from private.event_cursor c where c.owner = me for no key update;
  if key is not null then  -- the same key, a moment ago: no new request, so no quota is asked
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_quota(used, allowed, coalesce(octet_length(new.text), 0));
  insert into private.request (owner, title, task, text, document_id, url, target_words, target_ratio, style, language,
                               model, idempotency_key, body_hash)
    values (me, new.title, new.task, new.text, new.document_id, new.url, new.target_words, new.target_ratio,
            coalesce(new.style, 'plain'), new.language, model.name, key, hash) returning * into stored;
  insert into private.job (id, request_id, owner, model_id, priority, tag, run_at)
    values (stored.job_id, stored.id, me, model.id, coalesce(new.priority, 0),
            private.next_tag(me, model, step, coalesce(new.priority, 0::smallint)),
            case when new.run_at > now() then new.run_at end);
  if new.run_at is null or new.run_at <= now() then perform private.ring(); end if;
  perform private.answer(202, stored.id, false);
  return private.request_row(stored.id);
end $$;
drop function private.check_quota(private.event_cursor, bigint);
notify pgrst, 'reload schema';

-- migrate:down
lock table private.session in access exclusive mode;
create function private.check_quota(used private.event_cursor, bytes bigint) returns void language plpgsql volatile set search_path = '' as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  tomorrow constant int := ceil(extract(epoch from (today + 1)::timestamp - now() at time zone 'UTC'));
  allowed constant private.allowance := private.allowance_of(used.owner);
begin
  if used.day < today then used.day_requests := 0; used.day_bytes := 0; end if;
  if used.waiting >= allowed.requests_waiting then
    perform private.refuse_waiting(allowed.requests_waiting);
  elsif used.day_requests >= allowed.requests_per_day then
    perform private.refuse_quota('daily_requests_used',
      format('You have sent the %s requests that you may send in a day. Send more after midnight UTC.', allowed.requests_per_day), tomorrow);
  elsif used.day_bytes + bytes > allowed.bytes_per_day then
    perform private.refuse_quota('daily_bytes_used',
      format('With this text you would have sent more than the %s bytes that you may send in a day. Send it after midnight UTC.', allowed.bytes_per_day), tomorrow);
  end if;
end $$;
comment on function private.check_quota(private.event_cursor, bigint) is
  'Refuses one more request with so many bytes if a quota of its owner is used up. Takes the owner''s event cursor as it is while locked: no two inserts get the last place.';
alter function private.check_quota(private.event_cursor, bigint) owner to precis_definer;

create or replace function private.insert_request() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  me constant uuid := gate.uid();
  key constant text := private.idempotency_key();
  hash constant bytea := sha256(convert_to(jsonb_build_array(new.title, new.task, new.text, new.document_id, new.url,
    new.target_words, new.target_ratio, new.style, new.language, new.model, new.priority,
    new.run_at at time zone 'UTC')::text, 'UTF8'));  -- one instant, whatever zone the client prefers to read it in
  model private.model;
  used private.event_cursor;
  stored private.request;
begin
  if key is not null then
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_request(new);
  model := private.resolve_model(new.model);
  -- The lock that orders this owner's events orders their tags and guards their quotas as well.
  select * into strict used from private.event_cursor c where c.owner = me for no key update;
  if key is not null then  -- the same key, a moment ago: no new request, so no quota is asked
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_quota(used, coalesce(octet_length(new.text), 0));
  insert into private.request (owner, title, task, text, document_id, url, target_words, target_ratio, style, language,
                               model, idempotency_key, body_hash)
    values (me, new.title, new.task, new.text, new.document_id, new.url, new.target_words, new.target_ratio,
            coalesce(new.style, 'plain'), new.language, model.name, key, hash) returning * into stored;
  insert into private.job (id, request_id, owner, model_id, priority, tag, run_at)
    values (stored.job_id, stored.id, me, model.id, coalesce(new.priority, 0),
            private.fair_tag(me, model.id, coalesce(new.priority, 0::smallint)),
            case when new.run_at > now() then new.run_at end);
  if new.run_at is null or new.run_at <= now() then perform private.ring(); end if;
  perform private.answer(202, stored.id, false);
  return private.request_row(stored.id);
end $$;

create or replace function private.fair_tag(owner uuid, model_id int, priority smallint) returns bigint
  language plpgsql volatile security definer set search_path = '' set enable_seqscan = off set enable_sort = off as $$
declare
  tag bigint;
begin
  -- One statement, and no function that is not known when it is planned: all of the owner's inserts wait for it.
  select coalesce(last.tag + s.step, s.clock_now + s.step / 2) - fair_tag.priority * private.head_start() into strict tag
    from (select greatest(2, m.step / coalesce((select a.weight from private.allowance a where a.owner = fair_tag.owner),
                                               (select a.weight from private.allowance a where a.owner is null), 1))::bigint as step,
                 coalesce(pg_sequence_last_value(m.clock), 0) as clock_now
            from private.model m where m.id = fair_tag.model_id) s
    left join lateral (
      select j.tag + j.priority * private.head_start() as tag from private.job j
       where j.state = 'ready' and j.run_at is null and j.owner = fair_tag.owner and j.model_id = fair_tag.model_id
         and j.priority = fair_tag.priority and (-j.tag) < -(s.clock_now - fair_tag.priority * private.head_start())
       order by (-j.tag) limit 1) last on true;
  return tag;
end $$;
comment on function private.fair_tag is
  'The tag of a new job: one step behind the owner''s last ready one, or half a step behind the clock. A step is shorter for an owner of more weight. Needs the lock on the owner''s event cursor.';
drop function private.next_tag(uuid, private.model, bigint, smallint), private.step_of(private.model, private.allowance),
  private.check_quota(private.event_cursor, private.allowance, bigint);
notify pgrst, 'reload schema';
