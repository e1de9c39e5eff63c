create or replace function gate.request_state(job_state text) returns text language sql immutable set search_path = '' as $$
  select case job_state when 'ready' then 'queued' when 'waiting' then 'running' else job_state end
$$;
comment on function gate.request_state(text) is 'The public state of a request, from the state of its root job.';
grant execute on function gate.request_state(text) to pgrest_auth, event_reader, precis_definer;
