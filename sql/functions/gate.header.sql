create or replace function gate.header(name text) returns text language sql stable set search_path = '' as
  $$ select nullif(current_setting('request.headers', true), '')::json ->> lower(name) $$;
comment on function gate.header(text) is 'A header of the HTTP request, null if it was not sent.';
grant execute on function gate.header(text) to pgrest_anon, pgrest_auth, precis_definer;
