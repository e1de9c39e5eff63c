create or replace function private.check_own(request_id uuid) returns void language plpgsql stable set search_path = '' as $$
begin
  perform from private.request r where r.id = request_id and r.owner = gate.uid();
  if not found then perform gate.refuse(404, 'request_not_found', 'You have no request with this id.'); end if;
end $$;
comment on function private.check_own(uuid) is 'Refuses somebody else''s request as if it were not there.';
alter function private.check_own(uuid) owner to precis_definer;
