create or replace function private.cancel(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  jobs constant bigint[] := private.jobs_of(request_id);
  was_running boolean;
begin
  perform private.take_turn(r.owner) from private.request r where r.id = cancel.request_id;
  perform from private.job j where j.id = any (jobs) order by j.id for no key update;
  if not found then perform gate.refuse(404, 'request_not_found', 'There is no request with this id.'); end if;
  select bool_or(j.state = 'running') into was_running from private.job j where j.id = any (jobs);
  update private.job j set state = 'cancelled', worker_id = null, deadline_at = null, updated_at = now(), finished_at = now()
   where j.id = any (jobs) and j.state in ('ready', 'running', 'waiting');
  if not found then
    perform from private.job j where j.id = any (jobs) and j.kind = 'root' and j.state = 'cancelled';
    if found then return; end if;
    perform gate.refuse(409, 'already_finished', 'This request has ended already.');
  end if;
  delete from private.partial p where p.request_id = cancel.request_id;
  if was_running then perform private.tell('precis_control', cancel.request_id::text); end if;
end $$;
comment on function private.cancel(uuid) is 'Ends a queued or running request, whoever''s it is, with all its jobs.';
alter function private.cancel(uuid) owner to precis_definer;
