create or replace function private.note_change(change jsonb) returns void language sql volatile set search_path = '' as $$
  select set_config('precis.changes', coalesce(current_setting('precis.changes', true), '') || change || chr(10), true)
$$;
comment on function private.note_change(jsonb) is
  'Keeps what is to be done to one row until all rows of the statement are known: their jobs are locked in one order, before the event cursor, as workers do.';
alter function private.note_change(jsonb) owner to precis_definer;
