create or replace function private.delete_request() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  jobs constant bigint[] := private.jobs_of(old.id);
begin
  perform private.take_turn();
  perform from private.job j where j.id = any (jobs) and j.owner = gate.uid() order by j.id for update;
  if not found then return null; end if;
  -- Whoever runs it finds its claim gone, and is told so at once.
  perform private.tell('precis_control', old.id::text) from private.job j where j.id = any (jobs) and j.state = 'running' limit 1;
  delete from private.partial p where p.request_id = old.id;
  delete from private.request r where r.id = old.id and r.owner = gate.uid();
  return old;
end $$;
comment on function private.delete_request() is 'Cancels and forgets: jobs, result and partial text go with the request.';
alter function private.delete_request() owner to precis_definer;
