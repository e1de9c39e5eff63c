create or replace function private.apply_changes() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  changes constant jsonb[] := array(select line::jsonb from string_to_table(rtrim(current_setting('precis.changes', true), chr(10)), chr(10)) line);
begin
  perform set_config('precis.changes', '', true);
  if cardinality(changes) = 0 then return null; end if;
  begin
    perform private.lock_own(array(select (c ->> 'id')::uuid from unnest(changes) c), cardinality(changes));
    if tg_op = 'DELETE' then
      perform private.delete_own(array(select (c ->> 'id')::uuid from unnest(changes) c));
    else
      perform private.change_own(c) from unnest(changes) c;
    end if;
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
  return null;
end $$;
comment on function private.apply_changes() is 'Does what the rows of a client''s PATCH or DELETE have noted.';
alter function private.apply_changes() owner to precis_definer;
