create or replace function private.begin_incarnation() returns boolean language plpgsql security definer set search_path = '' as $$
declare
  begun bigint;
begin
  -- The row of private.queue is what waits for the disk, and what others wait for. Random: a standby that takes over may not
  -- have heard of the last step.
  update private.queue q set generation = q.generation + 1 + floor(1000 * random())::int
   where not exists (select from private.event_incarnation) returning q.generation into begun;
  insert into private.event_incarnation (epoch_floor) select begun * 1000000 where begun is not null on conflict do nothing;
  return found;
end $$;
comment on function private.begin_incarnation() is
  'Begins a new incarnation where Postgres has thrown the last one away; whether it was this call. No event id and no claim is drawn twice across it.';
alter function private.begin_incarnation() owner to precis_definer;
grant execute on function private.begin_incarnation() to listener, listener_events;
