-- The per-account event log that event streams read: a counter per account, whose row lock makes the order of numbers
-- the order of commits.
-- Locks: SHARE ROW EXCLUSIVE on private.account and private.session, for their triggers.

-- migrate:up
create table private.event_cursor (
  owner uuid primary key references private.account on delete cascade,
  n bigint not null default 0,
  min_n bigint not null default 0,
  watched_until timestamptz not null default '-infinity'
) with (fillfactor = 50);
comment on table private.event_cursor is
  'The last event number of an account, the last one already pruned, and until when a stream of that account is open.';

create table private.event (
  owner uuid not null references private.account on delete cascade,
  n bigint not null,
  kind text not null,
  ref uuid not null,
  gone boolean not null default false,
  at timestamptz not null default now(),
  primary key (owner, n)
);
create index event_at_idx on private.event (at);  -- retention
comment on table private.event is 'Something that a client can see has changed: re-read ref, or drop it if gone.';

create unlogged table private.event_ticket (
  hash bytea primary key,
  claims jsonb not null,
  expires_at timestamptz not null
);
create index event_ticket_expires_at_idx on private.event_ticket (expires_at);  -- clean-up
comment on table private.event_ticket is 'Single-use keys that open a stream where no header can be sent.';

alter table private.event_cursor enable row level security;
alter table private.event enable row level security;
alter table private.event_ticket enable row level security;

grant select (owner, n, kind, ref, gone, at) on private.event to pgrest_auth;
grant select on private.event_cursor to pgrest_auth, listener_events;
grant update (watched_until, min_n) on private.event_cursor to listener_events;
grant select, delete on private.event to listener_events;
grant select, insert, delete on private.event_ticket to listener_events;
-- The listener asks who watches before it tells of partial text; and to lock a cursor row, so that a claim can pass by an
-- owner whose own transaction is open, takes the right to update something.
grant select (owner, watched_until), update (watched_until) on private.event_cursor to listener;
grant select, insert, update on private.event_cursor to precis_definer;
grant insert on private.event to precis_definer;
create policy web_reads_own on private.event for select to pgrest_auth using (owner = (select gate.uid()));
create policy web_reads_own on private.event_cursor for select to pgrest_auth using (owner = (select gate.uid()));
create policy listener_events on private.event to listener_events using (true) with check (true);
create policy listener on private.event_cursor to listener using (true) with check (true);
create policy listener_events on private.event_cursor to listener_events using (true) with check (true);
create policy listener_events on private.event_ticket to listener_events using (true) with check (true);
create policy precis_definer on private.event to precis_definer using (true) with check (true);
create policy precis_definer on private.event_cursor to precis_definer using (true) with check (true);

create view gate.event with (security_invoker = true) as
  select e.n, e.kind, e.ref, e.gone, e.at from private.event e;
comment on view gate.event is 'The event log of the account that is signed in. For event streams; not exposed.';
create view gate.event_cursor with (security_invoker = true) as
  select c.n, c.min_n from private.event_cursor c;
comment on view gate.event_cursor is 'How far the event log of the account that is signed in goes.';
grant select on gate.event, gate.event_cursor to pgrest_auth;

create function private.open_event_cursor() returns trigger
  language plpgsql security definer set search_path = '' as $$
begin
  insert into private.event_cursor (owner) values (new.id);
  return null;
end $$;
comment on function private.open_event_cursor is 'Every account has its cursor row: a bump that finds none would be lost without a word.';
create trigger account_opens_event_cursor after insert on private.account
  for each row execute function private.open_event_cursor();

create function private.append_events(event_kind text, owners uuid[], refs uuid[], are_gone boolean) returns void
  language plpgsql security definer set search_path = '' as $$
declare
  batch record;
  last_n bigint;
  watched boolean;
begin
  -- Owner by owner in one order: two statements over several owners cannot deadlock.
  for batch in select c.owner, array_agg(c.ref order by c.i) as refs, count(*) as size
                 from unnest(owners, refs) with ordinality c(owner, ref, i) group by c.owner order by c.owner
  loop
    -- One row lock: takes the next numbers and learns whether somebody watches. A stream sets watched_until on this
    -- row before it reads its backlog, so an event is either in that backlog or rings.
    update private.event_cursor set n = n + batch.size where owner = batch.owner
      returning n, watched_until > clock_timestamp() into last_n, watched;
    continue when not found;  -- the account itself is being deleted
    insert into private.event (owner, n, kind, ref, gone)
      select batch.owner, last_n - batch.size + r.i, event_kind, r.ref, are_gone
        from unnest(batch.refs) with ordinality r(ref, i);
    if watched then perform pg_notify('precis_event', batch.owner || ':' || last_n); end if;
  end loop;
end $$;
comment on function private.append_events is 'Appends events and rings for the owners whom somebody watches.';

create function private.tell_streams() returns trigger language plpgsql set search_path = '' as $$
begin
  -- Always, watched or not: it is rare, and a stream that is just opening must not fall between.
  perform pg_notify('precis_event', case tg_table_name when 'session' then to_jsonb(old) ->> 'account_id'
                                                       else to_jsonb(old) ->> 'id' end || ':0');
  return null;
end $$;
comment on function private.tell_streams is
  'A session ended or an account was banned: its open streams are to ask the gate again, and close, within the second.';
create trigger session_end_is_told after update of revoked_at or delete on private.session
  for each row execute function private.tell_streams();
create trigger account_ban_is_told after update of banned_at on private.account
  for each row execute function private.tell_streams();

alter function private.open_event_cursor() owner to precis_definer;
alter function private.append_events(text, uuid[], uuid[], boolean) owner to precis_definer;

notify pgrst, 'reload schema';

-- migrate:down
drop trigger account_opens_event_cursor on private.account;
drop trigger account_ban_is_told on private.account;
drop trigger session_end_is_told on private.session;
drop function private.tell_streams(), private.append_events(text, uuid[], uuid[], boolean), private.open_event_cursor();
drop view gate.event_cursor, gate.event;
drop table private.event_ticket, private.event, private.event_cursor;
notify pgrst, 'reload schema';
