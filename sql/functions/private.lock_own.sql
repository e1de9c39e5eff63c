create or replace function private.lock_own(requests uuid[], changes int) returns void language plpgsql volatile set search_path = '' as $$
begin
  perform private.take_turn();
  perform from private.job j where j.id = any (array(select unnest(private.jobs_of(r)) from unnest(requests) r)) and j.owner = gate.uid()
    order by j.id for no key update;
  perform private.charge_changes(private.lock_cursor(gate.uid()), changes);
end $$;
comment on function private.lock_own(uuid[], int) is
  'Locks what a change of these requests of the caller needs: their jobs in order, then the event cursor, as a finish does. Counts the changes.';
alter function private.lock_own(uuid[], int) owner to precis_definer;
