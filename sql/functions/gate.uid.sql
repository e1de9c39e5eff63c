create or replace function gate.uid() returns uuid language sql stable set search_path = '' as
  $$ select nullif(gate.claims() ->> 'sub', '')::uuid $$;
comment on function gate.uid() is 'The account that is signed in, null for anonymous. Policies use (select gate.uid()).';
grant execute on function gate.uid() to pgrest_anon, pgrest_auth, event_reader, precis_definer;
