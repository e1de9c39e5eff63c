create or replace function gate.refuse(status int, code text, message text, hint text default null, headers jsonb default '{}')
  returns void language plpgsql set search_path = '' as $$
begin
  raise sqlstate 'PGRST' using
    message = json_build_object('code', code, 'message', message, 'details', null, 'hint', hint)::text,
    detail = json_build_object('status', status, 'headers', headers)::text;
end $$;
comment on function gate.refuse(int, text, text, text, jsonb) is
  'Ends the request with an HTTP status, a stable code and a sentence that tells a person what to do. The JSON form keeps text out of the status line.';
grant execute on function gate.refuse(int, text, text, text, jsonb) to precis_definer;
