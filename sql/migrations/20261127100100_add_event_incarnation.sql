-- A crash of Postgres may take commits that did not wait for the disk, and with them the newest numbers of the event log:
-- they are given again, and a client that has seen the first of two would miss the second. So the ids of events also tell the
-- crashes of Postgres apart: by a random value that Postgres itself throws away with the contents of an unlogged table.
-- The release before makes its ids without it; a client that goes from the one to the other re-reads its rows, as after a crash.
-- Locks: none on existing tables.

-- migrate:up
create unlogged table private.event_incarnation (
  only_row boolean primary key default true constraint event_incarnation_has_one_row check (only_row),
  nonce uuid not null default gen_random_uuid()
);
comment on table private.event_incarnation is
  'What the ids of events begin with depends on the nonce. Emptied by Postgres itself after a crash and on a standby that takes over; whoever finds no row makes one.';
alter table private.event_incarnation enable row level security;
-- The nonce is Postgres' to draw: nobody at run time can choose, change or remove it.
grant select, insert (only_row) on private.event_incarnation to listener_events;
create policy listener_events on private.event_incarnation to listener_events using (true) with check (true);

notify pgrst, 'reload schema';

-- migrate:down
drop table private.event_incarnation;
notify pgrst, 'reload schema';
