create or replace function private.forget_events() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  delete from private.event e where e.owner = any (array(select o.owner from before_rows o));
  return null;
end $$;
comment on function private.forget_events() is
  'An account is gone, and its event cursor with it: nobody can append to its events any more.';
alter function private.forget_events() owner to precis_definer;
