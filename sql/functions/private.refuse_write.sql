create or replace function private.refuse_write() returns trigger language plpgsql set search_path = '' as $$
begin
  raise insufficient_privilege using message = format('%I can be read only.', tg_table_name);
end $$;
comment on function private.refuse_write() is
  'Stands behind views that nobody may write. Without a trigger Postgres says that it cannot, before it asks who may, and PostgREST makes a 500 of that.';
