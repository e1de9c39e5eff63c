create or replace function gate.cancel(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
begin
  perform gate.check_statement();
  perform private.check_own(request_id);
  begin
    perform private.cancel(request_id);
    perform private.charge_changes(private.lock_cursor(gate.uid()), 1);
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
end $$;
comment on function gate.cancel(uuid) is 'Ends a queued or running request of the caller, with all its jobs.';
alter function gate.cancel(uuid) owner to precis_definer;
grant execute on function gate.cancel(uuid) to pgrest_auth;
