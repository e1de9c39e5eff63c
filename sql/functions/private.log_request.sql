create or replace function private.log_request() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    delete from private.job j where j.id = any (array(select o.job_id from before_rows o));
    delete from private.job j where j.request_id = any (array(select o.id from before_rows o)) and j.kind <> 'root';
    delete from private.result s where s.request_id = any (array(select o.id from before_rows o));  -- once nobody holds their jobs
    perform private.append_events('request', array_agg(o.owner), array_agg(o.id), null, null, true) from before_rows o;
  else
    perform private.append_events('request', array_agg(n.owner), array_agg(n.id), null, null, false) from after_rows n;
  end if;
  return null;
end $$;
comment on function private.log_request() is 'A title changed or a request is gone.';
alter function private.log_request() owner to precis_definer;
