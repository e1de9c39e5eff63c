create or replace function private.delete_own(requests uuid[]) returns void language plpgsql volatile set search_path = '' as $$
begin
  -- Whoever runs one finds its claim gone, and is told so at once.
  perform private.tell('precis_control', r::text) from unnest(requests) r
    where exists (select from private.job j where j.id = any (private.jobs_of(r)) and j.state = 'running');
  delete from private.partial p where p.request_id = any (requests);
  delete from private.request r where r.id = any (requests) and r.owner = gate.uid();
end $$;
comment on function private.delete_own(uuid[]) is
  'Cancels and forgets requests of the caller: jobs, result and partial text go along. Needs the locks of private.lock_own.';
alter function private.delete_own(uuid[]) owner to precis_definer;
