create or replace function private.refuse_read_only() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  perform gate.refuse(422, 'read_only_column', 'Of a request that is there only title, priority and run_at can be changed. Leave out the rest.',
                      'POST /rpc/cancel and POST /rpc/retry change its state; for another text send a new request.');
  return null;
end $$;
comment on function private.refuse_read_only() is 'Refuses an UPDATE that names a column which clients may not change, whatever value it gives.';
alter function private.refuse_read_only() owner to precis_definer;
