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
           array_agg(coalesce(r.bytes, 0)::bigint) filter (where n.kind = 'root') as sent, false as any_ended,
           min(n.id) filter (where not private.job_is_sound(n.state, n.worker_id, n.finished_at, n.error_code,
                                                                  n.kind, n.priority, n.rank, n.progress)) as unsound
      into changed
      from after_rows n left join lateral (select r.bytes from private.request r where r.id = n.request_id limit 1) r on true;
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
                   private.job_is_sound(n.state, n.worker_id, n.finished_at, n.error_code, n.kind, n.priority, n.rank, n.progress) as sound
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
comment on function private.log_job() is
  'Refuses a job that contradicts itself. A root job changed in a way that a client can see, or its owner''s queue got longer or shorter, or an attempt at a job has ended.';
alter function private.log_job() owner to precis_definer;
