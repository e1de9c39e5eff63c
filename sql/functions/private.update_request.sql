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
