create or replace function gate.is_fair() returns boolean language plpgsql immutable security definer set search_path = '' as $$
begin
  -- Immutable, so that the planner asks once, of whatever statement it plans, EXPLAIN among them, and no row does.
  perform gate.check_statement();
  return true;
end $$;
comment on function gate.is_fair() is 'True in every view that clients read, or the statement is refused while it is planned.';
alter function gate.is_fair() owner to precis_definer;
grant execute on function gate.is_fair() to pgrest_anon, pgrest_auth, event_reader;
