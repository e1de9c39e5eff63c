create or replace function gate.clear(state text) returns json language plpgsql security definer set search_path = '' as $$
declare
  of_jobs constant text[] := case state when 'queued' then '{ready}' when 'running' then '{running,waiting}'
                               when 'done' then '{done}' when 'failed' then '{failed}' when 'cancelled' then '{cancelled}' end;
  requests uuid[];
  cleared int := 0;
  until timestamptz;
begin
  perform gate.check_statement();
  if of_jobs is null then
    perform gate.refuse(422, 'unknown_state', 'Say which requests: the state must be queued, running, done, failed or cancelled.');
  end if;
  requests := array(select r.id from private.request r join private.job j on j.id = r.job_id
                     where r.owner = gate.uid() and j.state = any (of_jobs) order by r.created_at desc limit 10000);
  begin
    perform private.charge_changes(private.lock_cursor(gate.uid()), 1);
    until := clock_timestamp() + interval '40 ms';
    for i in 0 .. (cardinality(requests) - 1) / 50 loop
      cleared := cleared + private.clear_own(requests[i * 50 + 1 : i * 50 + 50], of_jobs);
      exit when clock_timestamp() > until;
    end loop;
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
  return json_build_object('cleared', cleared, 'left', cardinality(requests) - cleared);
end $$;
comment on function gate.clear(text) is
  'As many of the caller''s requests in a state as 40 ms are enough for, so that what waits for their locks need not wait long; how many, and how many are left, of 10,000 at most.';
alter function gate.clear(text) owner to precis_definer;
grant execute on function gate.clear(text) to pgrest_auth;
