create or replace function gate.retry(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  me constant uuid := gate.uid();
  used private.event_cursor;
begin
  perform private.check_own(request_id);
  perform private.retry(request_id);
  -- Asked afterwards: the lock on the event cursor comes behind that on the job, and was taken with it. The model runs once more.
  select * into strict used from private.event_cursor c
   where c.owner = me and c.block >= coalesce((select e.n >> 4 from private.event e where e.owner = me order by e.n desc limit 1), 0);
  used.waiting := used.waiting - 1;  -- without this one
  perform private.check_quota(used, private.allowance_of(me), 0);
  perform private.append_events('request', array[me], array[null::uuid], array[0], array[0::bigint], false);
end $$;
comment on function gate.retry(uuid) is 'Queues a failed or cancelled request of the caller again. It counts as a request of today, without bytes.';
alter function gate.retry(uuid) owner to precis_definer;
grant execute on function gate.retry(uuid) to pgrest_auth;
