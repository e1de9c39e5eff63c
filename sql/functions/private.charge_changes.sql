create or replace function private.charge_changes(used private.event_cursor, changes int) returns void language plpgsql volatile set search_path = ''
  set enable_seqscan = off set jit = off as $$
declare
  until constant timestamptz := private.check_rate(used, changes);
begin
  update private.event_cursor c set changes_until = until where c.owner = used.owner and c.block >= used.block and until is not null;
end $$;
comment on function private.charge_changes(private.event_cursor, int) is
  'Counts changes of an account, or refuses them. Takes the owner''s event cursor as it is while locked.';
alter function private.charge_changes(private.event_cursor, int) owner to precis_definer;
