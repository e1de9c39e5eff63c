create or replace function private.take_turn(owner uuid) returns void language sql volatile set search_path = '' as
  $$ select pg_advisory_xact_lock(hashtextextended('precis.take_turn ' || owner, 0)) $$;
comment on function private.take_turn(uuid) is
  'Changes to the rows of one account wait for each other here: two statements over several of them would lock jobs and the event cursor crosswise. Workers do not pass here; they give way and try again.';
alter function private.take_turn(uuid) owner to precis_definer;
create or replace function private.take_turn() returns void language sql volatile set search_path = '' as
  $$ select private.take_turn(gate.uid()) $$;
comment on function private.take_turn() is 'The turn of whoever is signed in.';
alter function private.take_turn() owner to precis_definer;
