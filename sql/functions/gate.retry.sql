create or replace function gate.retry(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  me constant uuid := gate.uid();
  used private.event_cursor;
begin
  perform gate.check_statement();
  perform private.check_own(request_id);
  begin
    perform private.retry(request_id);
    used := private.lock_cursor(me);
    perform private.charge_changes(used, 1);
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
  -- Asked afterwards: the lock on the event cursor comes behind that on the job. The model runs once more.
  used.waiting := used.waiting - 1;  -- without this one
  perform private.check_quota(used, private.allowance_of(me), 0);
  perform private.append_events('request', array[me], array[null::uuid], array[0], array[0::bigint], false);
end $$;
comment on function gate.retry(uuid) is 'Queues a failed or cancelled request of the caller again. It counts as a request of today, without bytes.';
alter function gate.retry(uuid) owner to precis_definer;
grant execute on function gate.retry(uuid) to pgrest_auth;
