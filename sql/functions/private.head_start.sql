create or replace function private.head_start() returns bigint language sql immutable set search_path = '' as $$ select 8192::bigint $$;
comment on function private.head_start() is
  'How far one level of priority reaches ahead among an owner''s rows: eight steps of 1024. The claim''s floor lies this far behind the clock.';
grant execute on function private.head_start() to listener, precis_definer;
