create or replace function gate.retry(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
begin
  perform private.check_own(request_id);
  perform private.retry(request_id);
  -- Asked afterwards: the lock on the event cursor comes behind that on the job.
  perform private.refuse_waiting(a.requests_waiting) from private.event_cursor c cross join private.allowance_of(c.owner) a
    where c.owner = gate.uid() and c.waiting > a.requests_waiting;
end $$;
comment on function gate.retry(uuid) is 'Queues a failed or cancelled request of the caller again.';
alter function gate.retry(uuid) owner to precis_definer;
grant execute on function gate.retry(uuid) to pgrest_auth;
