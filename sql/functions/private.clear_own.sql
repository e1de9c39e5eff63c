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
