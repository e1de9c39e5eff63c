create or replace function private.drain(worker_id int, on_or_off boolean default true) returns void language plpgsql security definer set search_path = '' as $$
begin
  update private.worker w set draining = on_or_off where w.id = worker_id;
  if not found then perform gate.refuse(404, 'unknown_worker', 'No worker has this number.'); end if;
  perform private.tell('precis_control', 'models');
end $$;
comment on function private.drain(int, boolean) is
  'The worker claims nothing more; what it runs ends. Off lets it claim again, unless it is leaving.';
alter function private.drain(int, boolean) owner to precis_definer;
