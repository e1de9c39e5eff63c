create or replace function gate.pre_request() returns void language plpgsql volatile security definer set search_path = '' as $$
begin
  if coalesce(current_setting('request.method', true), '') = '' then  -- an event stream's read: it has its own way to try again
    perform gate.check_token();
    return;
  end if;
  begin
    -- Whoever is to wait for these waits here, where it can be told; the statement to come finds them taken.
    lock table private.request, private.job, private.result, private.attempt, private.partial, private.event_cursor,
               private.allowance, private.model, private.host_model in access share mode;
    perform gate.check_token();
    perform gate.check_http(current_setting('request.method'), current_setting('request.path'));
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
end $$;
comment on function gate.pre_request() is
  'Runs before every request of PostgREST and every read of an event stream: refuses tokens that PostgREST lets pass, and requests that would cost too much.';
alter function gate.pre_request() owner to precis_definer;
grant execute on function gate.pre_request() to pgrest_anon, pgrest_auth, event_reader;
