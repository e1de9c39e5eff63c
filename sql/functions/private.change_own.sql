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
