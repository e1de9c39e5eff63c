-- The per-account event log that event streams read: a counter per account, whose row lock makes the order of numbers
-- the order of commits.
-- Locks: SHARE ROW EXCLUSIVE on private.account and private.session, for their triggers.

-- migrate:up
create table private.event_cursor (
  owner uuid not null references private.account on delete cascade,
  n bigint not null default 0,
  min_n bigint not null default 0,
  watched_until timestamptz not null default '-infinity',
  waiting int not null default 0,
  day date not null default '-infinity',
  day_requests int not null default 0,
  day_bytes bigint not null default 0,
  changes_until timestamptz not null default '-infinity',
  block bigint generated always as (n >> 4) stored,
  primary key (owner, block)
) with (fillfactor = 50);
comment on table private.event_cursor is
  'The last event number of an account, the last one already pruned, and until when a stream of that account is open. What its quotas count stands here as well: every insert and every claim locks this row anyway.';
comment on column private.event_cursor.waiting is 'Requests of the account that are queued, scheduled ones included.';
comment on column private.event_cursor.day is 'The day (UTC) that day_requests and day_bytes count.';
comment on column private.event_cursor.changes_until is
  'Until when the changes made so far would have taken at the rate that the account is allowed. A minute ahead is as far as it may get.';
comment on column private.event_cursor.block is
  'Which block of 16 numbers n lies in. An owner''s old versions lie in earlier ones: the block of their last event is where to look.';
alter table private.event_cursor enable row level security;
grant select on private.event_cursor to pgrest_auth, event_reader, listener_events;
grant update (watched_until, min_n) on private.event_cursor to listener_events;
-- The listener asks who watches before it tells of partial text; and to lock a cursor row, so that a claim can pass by an
-- owner whose own transaction is open, takes the right to update something.
grant select (owner, watched_until), update (watched_until) on private.event_cursor to listener;
grant select, insert, update on private.event_cursor to precis_definer;
create policy web_reads_own on private.event_cursor for select to pgrest_auth, event_reader using (owner = (select gate.uid()));
create policy listener on private.event_cursor to listener using (true) with check (true);
create policy listener_events on private.event_cursor to listener_events using (true) with check (true);
create policy precis_definer on private.event_cursor to precis_definer using (true) with check (true);

-- No foreign key to the account: whoever appends holds the owner's cursor, which takes an account's events along.
create table private.event (
  owner uuid not null,
  n bigint not null,
  kind text not null,
  ref uuid not null,
  gone boolean not null default false,
  at timestamptz not null default now(),
  primary key (owner, n)
);
create index event_at_idx on private.event (at);  -- retention
-- No foreign key to the account: only who holds the cursor appends, and the cursor takes an account's events along.
comment on table private.event is 'Something that a client can see has changed: re-read ref, or drop it if gone.';
alter table private.event enable row level security;
grant select (owner, n, kind, ref, gone, at) on private.event to pgrest_auth, event_reader;
grant select, delete on private.event to listener_events;
grant select (owner, n), insert, delete on private.event to precis_definer;
create policy web_reads_own on private.event for select to pgrest_auth, event_reader using (owner = (select gate.uid()));
create policy listener_events on private.event to listener_events using (true) with check (true);
create policy precis_definer on private.event to precis_definer using (true) with check (true);

create unlogged table private.event_ticket (
  hash bytea primary key,
  claims jsonb not null,
  expires_at timestamptz not null
);
create index event_ticket_expires_at_idx on private.event_ticket (expires_at);  -- clean-up
comment on table private.event_ticket is 'Single-use keys that open a stream where no header can be sent.';
alter table private.event_ticket enable row level security;
grant select, insert, delete on private.event_ticket to listener_events;
create policy listener_events on private.event_ticket to listener_events using (true) with check (true);

-- functions/private.open_event_cursor.sql
create or replace function private.open_event_cursor() returns trigger
  language plpgsql security definer set search_path = '' as $$
begin
  insert into private.event_cursor (owner) values (new.id);
  return null;
end $$;
comment on function private.open_event_cursor() is
  'Every account has its cursor row: a bump that finds none would be lost without a word.';
alter function private.open_event_cursor() owner to precis_definer;

-- functions/private.append_events.sql
create or replace function private.append_events(event_kind text, owners uuid[], refs uuid[], waits int[], sent bigint[], are_gone boolean)
  returns void language plpgsql security definer set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  blocks bigint[];  -- of each one's last event: where to look for their cursor
  numbers bigint[] := '{}';
  last_n bigint;
  watched boolean;
begin
  if cardinality(owners) = 1 then
    blocks := array[(select e.n >> 4 from private.event e where e.owner = owners[1] order by e.n desc limit 1)];
  else  -- in one order: two statements over several owners cannot deadlock
    select array_agg(x.owner), array_agg(x.ref), array_agg(x.waits), array_agg(x.sent), array_agg(x.block)
      into owners, refs, waits, sent, blocks
      from (select c.owner, c.ref, c.waits, c.sent,
                   (select e.n >> 4 from private.event e where e.owner = c.owner order by e.n desc limit 1) as block
              from unnest(owners, refs, waits, sent) with ordinality c(owner, ref, waits, sent, i)
             order by c.owner, c.ref is not null, c.i) x;
  end if;
  for i in 1 .. coalesce(cardinality(owners), 0) loop
    -- Takes the next number and learns whether somebody watches. A stream sets watched_until on this row before it
    -- reads its backlog, so an event is either in that backlog or rings. No row: the account itself is being deleted.
    if sent[i] is null then
      update private.event_cursor c set n = c.n + num_nonnulls(refs[i]), waiting = c.waiting + coalesce(waits[i], 0)
       where c.owner = owners[i] and c.block >= coalesce(blocks[i], 0)
      returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    else
      -- A transaction that began before midnight and got here after another of today must not turn the day back.
      update private.event_cursor c
         set n = c.n + num_nonnulls(refs[i]), waiting = c.waiting + coalesce(waits[i], 0), day = greatest(c.day, today),
             day_requests = case when c.day >= today then c.day_requests else 0 end + 1,
             day_bytes = case when c.day >= today then c.day_bytes else 0 end + sent[i]
       where c.owner = owners[i] and c.block >= coalesce(blocks[i], 0)
      returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    end if;
    numbers[i] := last_n;
    if owners[i] = owners[i + 1] then
      blocks[i + 1] := last_n >> 4;
    elsif watched and refs[i] is not null then
      perform private.tell('precis_event', owners[i] || ':' || last_n);
    end if;
  end loop;
  insert into private.event (owner, n, kind, ref, gone)
    select x.owner, x.n, event_kind, x.ref, are_gone from unnest(owners, numbers, refs) x(owner, n, ref)
     where x.n is not null and x.ref is not null;
end $$;
comment on function private.append_events(text, uuid[], uuid[], int[], bigint[], boolean) is
  'For each owner: appends an event for each ref that is not null and rings if somebody watches, adds waits to what is queued, and counts each sent that is not null as a request of today with so many bytes.';
alter function private.append_events(text, uuid[], uuid[], int[], bigint[], boolean) owner to precis_definer;

-- functions/private.lock_cursor.sql
create or replace function private.lock_cursor(owner uuid) returns private.event_cursor language plpgsql volatile set search_path = ''
  set enable_seqscan = off set jit = off as $$
declare
  first_block constant bigint := coalesce((select e.n >> 4 from private.event e where e.owner = lock_cursor.owner order by e.n desc limit 1), 0);
  found_row private.event_cursor;
begin
  -- Two of an account may wait for long. More would take everybody's connections for waiting.
  if not (pg_try_advisory_xact_lock(hashtext('precis.lock_cursor 1'), hashtext(lock_cursor.owner::text))
          or pg_try_advisory_xact_lock(hashtext('precis.lock_cursor 2'), hashtext(lock_cursor.owner::text))) then
    perform set_config('lock_timeout', '300ms', true);
  end if;
  select * into found_row from private.event_cursor c where c.owner = lock_cursor.owner and c.block >= first_block
     for no key update;
  return found_row;
exception when lock_not_available or deadlock_detected or query_canceled then
  perform gate.refuse_busy();
end $$;
comment on function private.lock_cursor(uuid) is 'Waits for the lock on an owner''s event cursor; takes it after those on jobs, as workers do.';
alter function private.lock_cursor(uuid) owner to precis_definer;

-- functions/private.forget_events.sql
create or replace function private.forget_events() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  delete from private.event e where e.owner = any (array(select o.owner from before_rows o));
  return null;
end $$;
comment on function private.forget_events() is
  'An account is gone, and its event cursor with it: nobody can append to its events any more.';
alter function private.forget_events() owner to precis_definer;

-- functions/private.tell_streams.sql
create or replace function private.tell_streams() returns trigger language plpgsql set search_path = '' as $$
begin
  -- Always, watched or not: it is rare, and a stream that is just opening must not fall between.
  perform private.tell('precis_event', case tg_table_name when 'session' then to_jsonb(old) ->> 'account_id'
                                                       else to_jsonb(old) ->> 'id' end || ':0');
  return null;
end $$;
comment on function private.tell_streams() is
  'A session ended, an account was banned or got another password: its open streams are to ask the gate again, and close, within the second.';

create trigger event_cursor_takes_events_along after delete on private.event_cursor
  referencing old table as before_rows for each statement execute function private.forget_events();
create trigger account_opens_event_cursor after insert on private.account
  for each row execute function private.open_event_cursor();
create trigger session_end_is_told after update of revoked_at or delete on private.session
  for each row execute function private.tell_streams();
create trigger account_change_is_told after update of banned_at, password_changed_at on private.account
  for each row execute function private.tell_streams();

create view gate.event with (security_invoker = true) as
  select e.n, e.kind, e.ref, e.gone, e.at from private.event e;
comment on view gate.event is 'The event log of the account that is signed in. For event streams; not exposed.';
create view gate.event_cursor with (security_invoker = true) as
  select c.n, c.min_n from private.event_cursor c;
comment on view gate.event_cursor is 'How far the event log of the account that is signed in goes.';
grant select on gate.event, gate.event_cursor to pgrest_auth, event_reader;

notify pgrst, 'reload schema';

-- migrate:down
drop view gate.event, gate.event_cursor;
drop trigger session_end_is_told on private.session;
drop trigger account_change_is_told on private.account;
drop trigger account_opens_event_cursor on private.account;
drop function private.lock_cursor(uuid);
drop table private.event_ticket, private.event, private.event_cursor;
drop function private.tell_streams(), private.forget_events(), private.open_event_cursor(),
  private.append_events(text, uuid[], uuid[], int[], bigint[], boolean);
notify pgrst, 'reload schema';
