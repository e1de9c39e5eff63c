create or replace function private.refuse_empty_insert() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('precis.answered', true) is distinct from 'yes' then
    perform gate.refuse(400, 'no_rows', 'The body holds no row. Send an object, or a list of objects.');
  end if;
  return null;
end $$;
comment on function private.refuse_empty_insert() is
  'A body such as null, [] or "text" is no row to PostgREST, which would answer 201 and keep nothing.';
alter function private.refuse_empty_insert() owner to precis_definer;
