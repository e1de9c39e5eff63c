-- What every claim, finish and insert writes of events, in less time: no look at the account for each event, one look at the rows
-- that changed, and no count of the day where nothing was sent.
-- Locks: ACCESS EXCLUSIVE on private.session, private.job, private.event_cursor, private.event and private.account, for an instant. On
-- private.session first, so that nobody who is served meanwhile deadlocks with it.

-- migrate:up
lock table private.session in access exclusive mode;
lock table private.job, private.event_cursor, private.event, private.account in access exclusive mode;
-- An event is appended by whoever holds its owner's cursor, so none can outlive it: the cursor takes them along.
alter table private.event drop constraint event_owner_fkey;
grant select (owner), delete on private.event to precis_definer;
create function private.forget_events() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  delete from private.event e where e.owner = any (array(select o.owner from before_rows o));
  return null;
end $$;
comment on function private.forget_events is 'An account is gone, and its event cursor with it: nobody can append to its events any more.';
alter function private.forget_events() owner to precis_definer;
create trigger event_cursor_takes_events_along after delete on private.event_cursor
  referencing old table as before_rows for each statement execute function private.forget_events();

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

create function private.job_is_sound(state text, worker_id int, finished_at timestamptz, error_code text, kind text, priority smallint,
                                     progress real) returns boolean language sql immutable
  return state in ('ready', 'running', 'waiting', 'done', 'failed', 'cancelled')
     and (state = 'running') = (worker_id is not null)
     and (state in ('done', 'failed', 'cancelled')) = (finished_at is not null)
     and (state <> 'failed' or error_code is not null)
     and kind in ('root', 'chunk') and priority between -1 and 1 and progress between 0 and 1;
comment on function private.job_is_sound is
  'What checks of private.job would say. Theirs are parsed anew by each statement, which costs a claim and a finish a fifth.';
alter function private.job_is_sound(text, int, timestamptz, text, text, smallint, real) owner to precis_definer;

create or replace function private.log_job() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  changed record;
begin
  if tg_op = 'DELETE' then
    perform private.append_events('request', array_agg(o.owner), array_agg(null::uuid), array_agg(-1), null, true)
       from before_rows o where o.kind = 'root' and o.state = 'ready' having count(*) > 0;
    delete from private.attempt a where a.job_id = any (array(select o.id from before_rows o where o.epoch > 0));
    return null;
  end if;
  -- One look at the rows: each claim and each finish waits for it.
  if tg_op = 'INSERT' then
    select array_agg(n.owner) filter (where n.kind = 'root') as owners, array_agg(n.request_id) filter (where n.kind = 'root') as refs,
           array_agg((n.state = 'ready')::int) filter (where n.kind = 'root') as waits,
           array_agg(coalesce(octet_length(r.text), 0)::bigint) filter (where n.kind = 'root') as sent, false as any_ended,
           min(n.id) filter (where not private.job_is_sound(n.state, n.worker_id, n.finished_at, n.error_code,
                                                                  n.kind, n.priority, n.progress)) as unsound
      into changed
      from after_rows n left join lateral (select r.text from private.request r where r.id = n.request_id limit 1) r on true;
  else
    -- What a client cannot see is no event: leases, tags, progress of a stream.
    select array_agg(c.owner) filter (where c.seen) as owners, array_agg(c.request_id) filter (where c.seen) as refs,
           array_agg(c.waits) filter (where c.seen) as waits, null::bigint[] as sent, bool_or(c.ended) as any_ended,
           min(c.id) filter (where not c.sound) as unsound
      into changed
      from (select n.id, n.owner, n.request_id, (n.state = 'ready')::int - (o.state = 'ready')::int as waits,
                   -- The states as gate.request_state tells them apart, without a call of it for each row.
                   n.kind = 'root' and (case n.state when 'waiting' then 'running' else n.state end, n.priority, n.run_at)
                      is distinct from (case o.state when 'waiting' then 'running' else o.state end, o.priority, o.run_at) as seen,
                   o.state = 'running' and n.state in ('ready', 'done', 'failed', 'cancelled') as ended,
                   private.job_is_sound(n.state, n.worker_id, n.finished_at, n.error_code, n.kind, n.priority, n.progress) as sound
              from after_rows n join before_rows o on o.id = n.id) c;
  end if;
  if changed.unsound is not null then
    raise exception 'job % would contradict itself', changed.unsound
      using errcode = 'check_violation', schema = tg_table_schema, table = tg_table_name, constraint = 'job_is_sound';
  end if;
  if changed.owners is not null then
    perform private.append_events('request', changed.owners, changed.refs, changed.waits, changed.sent, false);
  end if;
  if changed.any_ended then
    insert into private.attempt (job_id, epoch, request_id, owner, worker_id, worker, claimed_at, outcome, error_code, error_message)
      select o.id, o.epoch, o.request_id, o.owner, o.worker_id, w.name, o.claimed_at,
             case when n.state <> 'ready' then n.state when n.error_code is null then 'released'
                  when n.error_code = 'worker_lost' then 'rescued' else 'retried' end,
             case when n.state in ('ready', 'failed') then n.error_code end,  -- the release before left it standing
             case when n.state in ('ready', 'failed') then n.error_message end
        from before_rows o join after_rows n on n.id = o.id left join private.worker w on w.id = o.worker_id
       where o.state = 'running' and n.state in ('ready', 'done', 'failed', 'cancelled');
  end if;
  return null;
end $$;
notify pgrst, 'reload schema';

-- migrate:down
lock table private.session in access exclusive mode;
lock table private.job, private.event_cursor, private.event, private.account in access exclusive mode;
create or replace function private.log_job() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  unsound private.job.id%type;
  changed record;
begin
  if tg_op <> 'DELETE' then
    -- What checks of the table would say. Theirs are parsed anew by each statement, which costs a claim and a finish a fifth.
    select n.id into unsound from after_rows n
     where not (n.state in ('ready', 'running', 'waiting', 'done', 'failed', 'cancelled')
                and (n.state = 'running') = (n.worker_id is not null)
                and (n.state in ('done', 'failed', 'cancelled')) = (n.finished_at is not null)
                and (n.state <> 'failed' or n.error_code is not null)
                and n.kind in ('root', 'chunk') and n.priority between -1 and 1 and n.progress between 0 and 1)
     limit 1;
    if found then
      raise exception 'job % would contradict itself', unsound
        using errcode = 'check_violation', schema = tg_table_schema, table = tg_table_name, constraint = 'job_is_sound';
    end if;
  end if;
  if tg_op = 'INSERT' then
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id),
                                  array_agg((n.state = 'ready')::int), array_agg(coalesce(octet_length(r.text), 0)::bigint), false)
       from after_rows n cross join lateral (select r.text from private.request r where r.id = n.request_id limit 1) r
      where n.kind = 'root' having count(*) > 0;
  elsif tg_op = 'DELETE' then
    perform private.append_events('request', array_agg(o.owner), array_agg(null::uuid), array_agg(-1), null, true)
       from before_rows o where o.kind = 'root' and o.state = 'ready' having count(*) > 0;
    delete from private.attempt a where a.job_id = any (array(select o.id from before_rows o where o.epoch > 0));
  else
    -- What a client cannot see is no event: leases, tags, progress of a stream.
    select array_agg(c.owner) filter (where c.seen) as owners, array_agg(c.request_id) filter (where c.seen) as refs,
           array_agg(c.waits) filter (where c.seen) as waits, bool_or(c.ended) as any_ended into changed
      from (select n.owner, n.request_id, (n.state = 'ready')::int - (o.state = 'ready')::int as waits,
                   -- The states as gate.request_state tells them apart, without a call of it for each row.
                   n.kind = 'root' and (case n.state when 'waiting' then 'running' else n.state end, n.priority, n.run_at)
                      is distinct from (case o.state when 'waiting' then 'running' else o.state end, o.priority, o.run_at) as seen,
                   o.state = 'running' and n.state in ('ready', 'done', 'failed', 'cancelled') as ended
              from after_rows n join before_rows o on o.id = n.id) c;
    if changed.owners is not null then
      perform private.append_events('request', changed.owners, changed.refs, changed.waits, null, false);
    end if;
    if changed.any_ended then
      insert into private.attempt (job_id, epoch, request_id, owner, worker_id, worker, claimed_at, outcome, error_code, error_message)
        select o.id, o.epoch, o.request_id, o.owner, o.worker_id, w.name, o.claimed_at,
               case when n.state <> 'ready' then n.state when n.error_code is null then 'released'
                    when n.error_code = 'worker_lost' then 'rescued' else 'retried' end,
               case when n.state in ('ready', 'failed') then n.error_code end,  -- the release before left it standing
               case when n.state in ('ready', 'failed') then n.error_message end
          from before_rows o join after_rows n on n.id = o.id left join private.worker w on w.id = o.worker_id
         where o.state = 'running' and n.state in ('ready', 'done', 'failed', 'cancelled');
    end if;
  end if;
  return null;
end $$;

create or replace function private.append_events(event_kind text, owners uuid[], refs uuid[], waits int[], sent bigint[], are_gone boolean)
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

drop function private.job_is_sound(text, int, timestamptz, text, text, smallint, real);
drop trigger event_cursor_takes_events_along on private.event_cursor;
drop function private.forget_events();
revoke select (owner), delete on private.event from precis_definer;
delete from private.event e where not exists (select from private.account a where a.id = e.owner);
alter table private.event add constraint event_owner_fkey foreign key (owner) references private.account on delete cascade;
notify pgrst, 'reload schema';
