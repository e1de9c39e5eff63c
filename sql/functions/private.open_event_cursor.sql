create or replace function private.open_event_cursor() returns trigger
  language plpgsql security definer set search_path = '' as $$
begin
  insert into private.event_cursor (owner) values (new.id);
  return null;
end $$;
comment on function private.open_event_cursor() is
  'Every account has its cursor row: a bump that finds none would be lost without a word.';
alter function private.open_event_cursor() owner to precis_definer;
