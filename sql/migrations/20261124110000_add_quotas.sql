-- Quotas and weights of accounts: what they may send in a day, how much may wait, and their share of the models.
-- Locks: ACCESS EXCLUSIVE on private.event_cursor for as long as columns with constant defaults take; SHARE ROW EXCLUSIVE on
-- private.job for its trigger, on private.account for a foreign key. What waits already is counted while they are held.
-- ACCESS EXCLUSIVE on private.session, so that none of this deadlocks with those who are served meanwhile: what a client does
-- asks for the session first, and an insert takes event_cursor and job in the other order than a worker does.

-- migrate:up
lock table private.account in share row exclusive mode;
lock table private.session in access exclusive mode;
lock table private.job in share row exclusive mode;
alter table private.event_cursor
  add waiting int not null default 0,
  add day date not null default '-infinity',
  add day_requests int not null default 0,
  add day_bytes bigint not null default 0;
comment on table private.event_cursor is
  'The last event number of an account, the last one already pruned, and until when a stream of that account is open. What its quotas count stands here as well: every insert and every claim locks this row anyway.';
comment on column private.event_cursor.waiting is 'Requests of the account that are queued, scheduled ones included.';
comment on column private.event_cursor.day is 'The day (UTC) that day_requests and day_bytes count.';

create table private.allowance (
  owner uuid references private.account on delete cascade,
  requests_per_day int,
  bytes_per_day bigint,
  requests_waiting int,
  weight real not null default 1,
  constraint allowance_owner_is_unique unique nulls not distinct (owner),
  constraint allowance_is_not_negative check (least(requests_per_day, bytes_per_day, requests_waiting) >= 0),
  constraint allowance_weight_is_sane check (weight between 0.01::real and 100::real)
);
comment on table private.allowance is
  'Quotas and weight of an account; a null quota is no limit. The row without an owner holds for every account that has none of its own. An operator''s to change.';
comment on column private.allowance.weight is 'The account''s share of a model against others who wait for it: twice the weight, twice the share.';
insert into private.allowance (requests_per_day, bytes_per_day, requests_waiting) values (10000, 536870912, 10000);
alter table private.allowance enable row level security;
grant select on private.allowance to precis_definer;
create policy precis_definer on private.allowance for select to precis_definer using (true);

create function private.allowance_of(owner uuid) returns private.allowance language sql stable set search_path = '' as $$
  select a.* from private.allowance a where a.owner = allowance_of.owner
  union all
  select a.* from private.allowance a where a.owner is null
  limit 1
$$;
comment on function private.allowance_of is 'The account''s own row, or the one for everybody.';

create function gate.allowance() returns private.allowance language sql stable security definer set search_path = '' as
  $$ select private.allowance_of(gate.uid()) $$;
comment on function gate.allowance is 'What the account that is signed in may have. A function, since the row for everybody is nobody''s own.';
alter function private.allowance_of(uuid) owner to precis_definer;
alter function gate.allowance() owner to precis_definer;
grant execute on function gate.allowance() to pgrest_auth;

-- One row lock per owner and statement, for everything that is counted: numbers of events, what waits, the day's quotas.
create function private.append_events(event_kind text, owners uuid[], refs uuid[], waits int[], sent bigint[], are_gone boolean)
  returns void language plpgsql security definer set search_path = '' as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  last_n bigint;
  watched boolean;
  rung int;
begin
  if cardinality(owners) = 1 then  -- as below, in less time: one insert, one claim
    update private.event_cursor c
       set n = c.n + num_nonnulls(refs[1]), waiting = c.waiting + coalesce(waits[1], 0),
           day = case when sent[1] is not null then greatest(c.day, today) else c.day end,
           day_requests = case when sent[1] is null or c.day >= today then c.day_requests else 0 end + num_nonnulls(sent[1]),
           day_bytes = case when sent[1] is null or c.day >= today then c.day_bytes else 0 end + coalesce(sent[1], 0)
     where c.owner = owners[1] returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    if not found or refs[1] is null then return; end if;
    insert into private.event (owner, n, kind, ref, gone) values (owners[1], last_n, event_kind, refs[1], are_gone);
    if watched then perform pg_notify('precis_event', owners[1] || ':' || last_n); end if;
    return;
  end if;
  with batch as materialized (
    select c.owner, array_agg(c.ref order by c.i) filter (where c.ref is not null) as refs, count(c.ref) as size,
           coalesce(sum(c.waits), 0) as waits, count(c.sent) as requests, coalesce(sum(c.sent), 0) as bytes
      from unnest(owners, refs, waits, sent) with ordinality c(owner, ref, waits, sent, i) group by c.owner),
  -- Locked in one order: two statements over several owners cannot deadlock.
  held as materialized (
    select c.owner from private.event_cursor c
     where c.owner = any (array(select b.owner from batch b)) order by c.owner for no key update),
  -- Takes the next numbers and learns whether somebody watches. A stream sets watched_until on this row before it
  -- reads its backlog, so an event is either in that backlog or rings. No row: the account itself is being deleted.
  bumped as (
    update private.event_cursor c
       set n = c.n + b.size, waiting = c.waiting + b.waits,
           -- A transaction that began before midnight and got here after another of today must not turn the day back.
           day = case when b.requests > 0 then greatest(c.day, today) else c.day end,
           day_requests = case when b.requests = 0 or c.day >= today then c.day_requests else 0 end + b.requests,
           day_bytes = case when b.requests = 0 or c.day >= today then c.day_bytes else 0 end + b.bytes
      from batch b where b.owner = c.owner and c.owner = any (array(select h.owner from held h))
    returning c.owner, c.n, c.n - b.size as n_before, b.refs, c.watched_until > clock_timestamp() as watched),
  appended as (
    insert into private.event (owner, n, kind, ref, gone)
    select b.owner, b.n_before + r.i, event_kind, r.ref, are_gone
      from bumped b cross join lateral unnest(b.refs) with ordinality r(ref, i))
  select count(pg_notify('precis_event', b.owner || ':' || b.n)) into rung
    from bumped b where b.watched and b.refs is not null;
end $$;
comment on function private.append_events(text, uuid[], uuid[], int[], bigint[], boolean) is
  'For each owner: appends an event for each ref that is not null and rings if somebody watches, adds waits to what is queued, and counts each sent that is not null as a request of today with so many bytes.';
alter function private.append_events(text, uuid[], uuid[], int[], bigint[], boolean) owner to precis_definer;

create or replace function private.log_request() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform private.append_events('request', array_agg(o.owner), array_agg(o.id), null, null, true) from before_rows o;
  else
    perform private.append_events('request', array_agg(n.owner), array_agg(n.id), null, null, false) from after_rows n;
  end if;
  return null;
end $$;

create or replace function private.log_job() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id),
                                  array_agg((n.state = 'ready')::int), array_agg(coalesce(octet_length(r.text), 0)::bigint), false)
       from after_rows n cross join lateral (select r.text from private.request r where r.id = n.request_id limit 1) r
      where n.kind = 'root' having count(*) > 0;
  elsif tg_op = 'DELETE' then
    perform private.append_events('request', array_agg(o.owner), array_agg(null::uuid), array_agg(-1), null, true)
       from before_rows o where o.kind = 'root' and o.state = 'ready' having count(*) > 0;
  else
    -- What a client cannot see is no event: leases, tags, progress of a stream.
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id),
                                  array_agg((n.state = 'ready')::int - (o.state = 'ready')::int), null, false)
       from after_rows n join before_rows o on o.id = n.id
      -- The states as gate.request_state tells them apart, without a call of it for each row.
      where n.kind = 'root' and (case n.state when 'waiting' then 'running' else n.state end, n.priority, n.run_at)
                     is distinct from (case o.state when 'waiting' then 'running' else o.state end, o.priority, o.run_at)
     having count(*) > 0;
  end if;
  return null;
end $$;
comment on function private.log_job is 'A root job changed in a way that a client can see, or its owner''s queue got longer or shorter.';
create trigger job_delete_is_logged after delete on private.job
  referencing old table as before_rows for each statement execute function private.log_job();
drop function private.append_events(text, uuid[], uuid[], boolean);

update private.event_cursor c set waiting = w.waiting
  from (select j.owner, count(*) as waiting from private.job j where j.kind = 'root' and j.state = 'ready' group by j.owner) w
 where w.owner = c.owner;

create or replace function private.fair_tag(owner uuid, model_id int, priority smallint) returns bigint
  language plpgsql volatile set search_path = '' set enable_seqscan = off set enable_sort = off as $$
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
-- Called by the listener as well, which may not read everybody's allowance itself.
alter function private.fair_tag(uuid, int, smallint) security definer;

create function private.refuse_quota(code text, message text, seconds int) returns void language sql volatile set search_path = '' as $$
  select gate.refuse(429, code, message, 'GET /usage shows what is left.', jsonb_build_object('Retry-After', seconds::text))
$$;
comment on function private.refuse_quota is 'Refuses for now, and says when to come back.';

create function private.refuse_waiting(most int) returns void language sql volatile set search_path = '' as $$
  select private.refuse_quota('too_many_waiting',
    format('As many of your requests are waiting as may: %s. Send more when some of them have begun.', most), 30)
$$;
comment on function private.refuse_waiting is 'Refuses because too many requests of the account would wait.';

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
comment on function private.check_quota is
  'Refuses one more request with so many bytes if a quota of its owner is used up. Takes the owner''s event cursor as it is while locked: no two inserts get the last place.';
alter function private.refuse_quota(text, text, int) owner to precis_definer;
alter function private.refuse_waiting(int) owner to precis_definer;
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
  insert into private.job (request_id, owner, model_id, priority, tag, run_at)
    values (stored.id, me, model.id, coalesce(new.priority, 0),
            private.fair_tag(me, model.id, coalesce(new.priority, 0::smallint)),
            case when new.run_at > now() then new.run_at end);
  if new.run_at is null or new.run_at <= now() then perform private.ring(); end if;
  perform private.answer(202, stored.id, false);
  return private.request_row(stored.id);
end $$;

create view public.usage with (security_invoker = true) as
  select c.waiting as requests_waiting, a.requests_waiting as requests_waiting_limit,
         t.requests as requests_today, a.requests_per_day as requests_per_day_limit,
         t.bytes as bytes_today, a.bytes_per_day as bytes_per_day_limit,
         case when a.requests_waiting is not null then greatest(0, a.requests_waiting - c.waiting) end as requests_waiting_left,
         case when a.requests_per_day is not null then greatest(0, a.requests_per_day - t.requests) end as requests_left,
         case when a.bytes_per_day is not null then greatest(0, a.bytes_per_day - t.bytes) end as bytes_left,
         ((now() at time zone 'UTC')::date + 1)::timestamp at time zone 'UTC' as day_ends_at
    from private.event_cursor c
   cross join gate.allowance() a
   cross join lateral (select case when c.day >= (now() at time zone 'UTC')::date then c.day_requests else 0 end as requests,
                              case when c.day >= (now() at time zone 'UTC')::date then c.day_bytes else 0 end as bytes) t;
comment on view public.usage is 'What you have used of your quotas and what is left: one row. Null in a limit, and in what is left of it, is no limit.';
comment on column public.usage.requests_waiting is 'How many of your requests are queued now, scheduled ones included.';
comment on column public.usage.requests_waiting_limit is 'How many may be queued at a time.';
comment on column public.usage.requests_today is 'How many requests you have sent today (UTC).';
comment on column public.usage.requests_per_day_limit is 'How many you may send in a day.';
comment on column public.usage.bytes_today is 'How many bytes of text you have sent today (UTC).';
comment on column public.usage.bytes_per_day_limit is 'How many you may send in a day.';
comment on column public.usage.requests_waiting_left is 'How many more may be queued now.';
comment on column public.usage.requests_left is 'How many more requests you may send today.';
comment on column public.usage.bytes_left is 'How many more bytes of text you may send today.';
comment on column public.usage.day_ends_at is 'When the daily quotas are whole again.';
grant select on public.usage to pgrest_auth;
create trigger usage_is_read_only instead of insert or update or delete on public.usage
  for each row execute function private.refuse_write();

notify pgrst, 'reload schema';

-- migrate:down
drop view public.usage;
drop trigger job_delete_is_logged on private.job;
create function private.append_events(event_kind text, owners uuid[], refs uuid[], are_gone boolean) returns void
  language plpgsql security definer set search_path = '' as $$
declare
  batch record;
  last_n bigint;
  watched boolean;
begin
  -- Owner by owner in one order: two statements over several owners cannot deadlock.
  for batch in select c.owner, array_agg(c.ref order by c.i) as refs, count(*) as size
                 from unnest(owners, refs) with ordinality c(owner, ref, i) group by c.owner order by c.owner
  loop
    -- One row lock: takes the next numbers and learns whether somebody watches. A stream sets watched_until on this
    -- row before it reads its backlog, so an event is either in that backlog or rings.
    update private.event_cursor set n = n + batch.size where owner = batch.owner
      returning n, watched_until > clock_timestamp() into last_n, watched;
    continue when not found;  -- the account itself is being deleted
    insert into private.event (owner, n, kind, ref, gone)
      select batch.owner, last_n - batch.size + r.i, event_kind, r.ref, are_gone
        from unnest(batch.refs) with ordinality r(ref, i);
    if watched then perform pg_notify('precis_event', batch.owner || ':' || last_n); end if;
  end loop;
end $$;
comment on function private.append_events(text, uuid[], uuid[], boolean) is 'Appends events and rings for the owners whom somebody watches.';
alter function private.append_events(text, uuid[], uuid[], boolean) owner to precis_definer;
create or replace function private.log_request() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform private.append_events('request', array_agg(o.owner), array_agg(o.id), true) from before_rows o;
  else
    perform private.append_events('request', array_agg(n.owner), array_agg(n.id), false) from after_rows n;
  end if;
  return null;
end $$;
create or replace function private.log_job() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id), false)
       from after_rows n where n.kind = 'root' having count(*) > 0;
  else
    -- What a client cannot see is no event: leases, tags, progress of a stream.
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id), false)
       from after_rows n join before_rows o on o.id = n.id
      where n.kind = 'root' and (gate.request_state(n.state), n.priority, n.run_at)
                     is distinct from (gate.request_state(o.state), o.priority, o.run_at)
     having count(*) > 0;
  end if;
  return null;
end $$;
comment on function private.log_job is 'A root job changed in a way that a client can see.';
create or replace function private.fair_tag(owner uuid, model_id int, priority smallint) returns bigint
  language plpgsql volatile set search_path = '' set enable_seqscan = off set enable_sort = off as $$
declare
  model private.model;
  clock_now bigint;
  last_tag bigint;
begin
  select * into strict model from private.model m where m.id = model_id;
  clock_now := coalesce(pg_sequence_last_value(model.clock), 0);
  select j.tag + j.priority * private.head_start() into last_tag from private.job j
   where j.state = 'ready' and j.run_at is null and j.owner = fair_tag.owner and j.model_id = fair_tag.model_id
     and j.priority = fair_tag.priority and (-j.tag) < -(clock_now - fair_tag.priority * private.head_start())
   order by (-j.tag) limit 1;
  return coalesce(last_tag + model.step, clock_now + model.step / 2) - priority * private.head_start();
end $$;
comment on function private.fair_tag is
  'The tag of a new job: one step behind the owner''s last ready one, or half a step behind the clock. Needs the lock on the owner''s event cursor.';
alter function private.fair_tag(uuid, int, smallint) security invoker;
create or replace function private.insert_request() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  me constant uuid := gate.uid();
  key constant text := private.idempotency_key();
  hash constant bytea := sha256(convert_to(jsonb_build_array(new.title, new.task, new.text, new.document_id, new.url,
    new.target_words, new.target_ratio, new.style, new.language, new.model, new.priority,
    new.run_at at time zone 'UTC')::text, 'UTF8'));  -- one instant, whatever zone the client prefers to read it in
  model private.model;
  stored private.request;
begin
  if key is not null then
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_request(new);
  model := private.resolve_model(new.model);
  -- The lock that orders this owner's events orders their tags as well.
  perform from private.event_cursor c where c.owner = me for no key update;
  insert into private.request (owner, title, task, text, document_id, url, target_words, target_ratio, style, language,
                               model, idempotency_key, body_hash)
    values (me, new.title, new.task, new.text, new.document_id, new.url, new.target_words, new.target_ratio,
            coalesce(new.style, 'plain'), new.language, model.name, key, hash)
    on conflict (owner, idempotency_key) do nothing returning * into stored;
  if not found then  -- the same key, at the same moment
    select * into strict stored from private.request r where r.owner = me and r.idempotency_key = key;
    return private.replay_request(stored, hash);
  end if;
  insert into private.job (request_id, owner, model_id, priority, tag, run_at)
    values (stored.id, me, model.id, coalesce(new.priority, 0),
            private.fair_tag(me, model.id, coalesce(new.priority, 0::smallint)),
            case when new.run_at > now() then new.run_at end);
  if new.run_at is null or new.run_at <= now() then perform private.ring(); end if;
  perform private.answer(202, stored.id, false);
  return private.request_row(stored.id);
end $$;
drop function private.check_quota(private.event_cursor, bigint), private.refuse_waiting(int), private.refuse_quota(text, text, int),
  gate.allowance(), private.allowance_of(uuid), private.append_events(text, uuid[], uuid[], int[], bigint[], boolean);
drop table private.allowance;
comment on table private.event_cursor is
  'The last event number of an account, the last one already pruned, and until when a stream of that account is open.';
alter table private.event_cursor drop waiting, drop day, drop day_requests, drop day_bytes;
notify pgrst, 'reload schema';
