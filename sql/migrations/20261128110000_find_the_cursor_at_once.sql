-- Who looks for an owner's event cursor does not walk over its old versions, which nothing can remove while somebody holds a
-- snapshot: it begins at the block of the owner's last event, of which there is one row. Within a block of 16 numbers updates stay HOT.
-- Locks: ACCESS EXCLUSIVE on private.session and private.event_cursor while the latter, a row for each account, is rewritten.

-- migrate:up
lock table private.session in access exclusive mode;
lock table private.event_cursor in access exclusive mode;
alter table private.event_cursor add column block bigint generated always as (n >> 4) stored;
comment on column private.event_cursor.block is
  'Which block of 16 numbers n lies in. An owner''s old versions lie in earlier ones: the block of their last event is where to look.';
alter table private.event_cursor drop constraint event_cursor_pkey, add primary key (owner, block);
grant select (n) on private.event to precis_definer;

create or replace function private.append_events(event_kind text, owners uuid[], refs uuid[], waits int[], sent bigint[], are_gone boolean)
  returns void language plpgsql security definer set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  blocks bigint[];  -- of each one's last event: where to look for their cursor
  numbers bigint[] := '{}';
  last_n bigint;
  watched boolean;
begin
  if cardinality(owners) = 1 then
    blocks := array[(select e.n >> 4 from private.event e where e.owner = owners[1] order by e.n desc limit 1)];
  else  -- in one order: two statements over several owners cannot deadlock
    select array_agg(x.owner), array_agg(x.ref), array_agg(x.waits), array_agg(x.sent), array_agg(x.block)
      into owners, refs, waits, sent, blocks
      from (select c.owner, c.ref, c.waits, c.sent,
                   (select e.n >> 4 from private.event e where e.owner = c.owner order by e.n desc limit 1) as block
              from unnest(owners, refs, waits, sent) with ordinality c(owner, ref, waits, sent, i)
             order by c.owner, c.ref is not null, c.i) x;
  end if;
  for i in 1 .. coalesce(cardinality(owners), 0) loop
    -- Takes the next number and learns whether somebody watches. A stream sets watched_until on this row before it
    -- reads its backlog, so an event is either in that backlog or rings. No row: the account itself is being deleted.
    if sent[i] is null then
      update private.event_cursor c set n = c.n + num_nonnulls(refs[i]), waiting = c.waiting + coalesce(waits[i], 0)
       where c.owner = owners[i] and c.block >= coalesce(blocks[i], 0)
      returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    else
      -- A transaction that began before midnight and got here after another of today must not turn the day back.
      update private.event_cursor c
         set n = c.n + num_nonnulls(refs[i]), waiting = c.waiting + coalesce(waits[i], 0), day = greatest(c.day, today),
             day_requests = case when c.day >= today then c.day_requests else 0 end + 1,
             day_bytes = case when c.day >= today then c.day_bytes else 0 end + sent[i]
       where c.owner = owners[i] and c.block >= coalesce(blocks[i], 0)
      returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    end if;
    numbers[i] := last_n;
    if owners[i] = owners[i + 1] then
      blocks[i + 1] := last_n >> 4;
    elsif watched and refs[i] is not null then
      perform pg_notify('precis_event', owners[i] || ':' || last_n);
    end if;
  end loop;
  insert into private.event (owner, n, kind, ref, gone)
    select x.owner, x.n, event_kind, x.ref, are_gone from unnest(owners, numbers, refs) x(owner, n, ref)
     where x.n is not null and x.ref is not null;
end $$;

create or replace function private.insert_request() returns trigger language plpgsql security definer set search_path = ''
  set enable_seqscan = off set jit = off as $$
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
  select * into strict used from private.event_cursor c
   where c.owner = me and c.block >= coalesce((select e.n >> 4 from private.event e where e.owner = me order by e.n desc limit 1), 0)
     for no key update;
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
notify pgrst, 'reload schema';

-- migrate:down
lock table private.session in access exclusive mode;
lock table private.event_cursor in access exclusive mode;
create or replace function private.append_events(event_kind text, owners uuid[], refs uuid[], waits int[], sent bigint[], are_gone boolean)
  returns void language plpgsql security definer set search_path = '' as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  last_n bigint;
  watched boolean;
  rung int;
begin
  if cardinality(owners) = 1 then  -- as below, in less time: one insert, one claim
    if sent[1] is null then
      update private.event_cursor c set n = c.n + num_nonnulls(refs[1]), waiting = c.waiting + coalesce(waits[1], 0)
       where c.owner = owners[1] returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    else
      update private.event_cursor c
         set n = c.n + num_nonnulls(refs[1]), waiting = c.waiting + coalesce(waits[1], 0), day = greatest(c.day, today),
             day_requests = case when c.day >= today then c.day_requests else 0 end + 1,
             day_bytes = case when c.day >= today then c.day_bytes else 0 end + sent[1]
       where c.owner = owners[1] returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    end if;
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

revoke select (n) on private.event from precis_definer;
alter table private.event_cursor drop constraint event_cursor_pkey, add primary key (owner);
alter table private.event_cursor drop column block;
notify pgrst, 'reload schema';
