create or replace function gate.claims() returns jsonb language sql stable set search_path = '' as
  $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
comment on function gate.claims() is 'The claims of the verified token, null without one.';
grant execute on function gate.claims() to pgrest_anon, pgrest_auth, event_reader, precis_definer;
