create or replace function private.delete_request() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  perform private.count_rows();
  perform private.note_change(jsonb_build_object('id', old.id));
  return old;
end $$;
comment on function private.delete_request() is 'Notes a request that is to be deleted once all of them are known.';
alter function private.delete_request() owner to precis_definer;
