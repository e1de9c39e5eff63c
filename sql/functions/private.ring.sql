create or replace function private.ring() returns void language plpgsql security definer set search_path = '' as $$
begin
  lock table private.bell in row exclusive mode nowait;
exception when lock_not_available then
  perform private.tell('precis_bell', ''), nextval('private.rings');
end $$;
comment on function private.ring() is
  'Called by whatever makes a job ready. Rings only if a worker is hungry or about to be: NOTIFY takes a global lock at commit.';
alter function private.ring() owner to precis_definer;
grant execute on function private.ring() to listener;
