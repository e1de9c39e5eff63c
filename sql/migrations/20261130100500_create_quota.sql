-- What an account may have: how much may wait, how much may be sent in a day, and its share of a model.
-- Locks: none on existing tables.

-- migrate:up
create table private.allowance (
  owner uuid references private.account on delete cascade,
  requests_per_day int,
  bytes_per_day bigint,
  requests_waiting int,
  changes_per_minute int,
  weight real not null default 1,
  constraint allowance_owner_is_unique unique nulls not distinct (owner),
  constraint allowance_is_not_negative check (least(requests_per_day, bytes_per_day, requests_waiting, changes_per_minute) >= 0),
  constraint allowance_weight_is_sane check (weight between 0.01::real and 100::real)
);
insert into private.allowance (requests_per_day, bytes_per_day, requests_waiting, changes_per_minute) values (10000, 536870912, 10000, 600);
comment on table private.allowance is
  'Quotas and weight of an account; a null quota is no limit. The row without an owner holds for every account that has none of its own. An operator''s to change.';
comment on column private.allowance.changes_per_minute is
  'How many requests may be changed, cancelled, tried again or deleted in a minute, all at once or one by one; a call of clear is one.';
comment on column private.allowance.weight is 'The account''s share of a model against others who wait for it: twice the weight, twice the share.';
alter table private.allowance enable row level security;
grant select on private.allowance to precis_definer;
create policy precis_definer on private.allowance for select to precis_definer using (true);

-- functions/private.allowance_of.sql
create or replace function private.allowance_of(owner uuid) returns private.allowance language sql stable set search_path = '' as $$
  select a.* from private.allowance a where a.owner = allowance_of.owner
  union all
  select a.* from private.allowance a where a.owner is null
  limit 1
$$;
comment on function private.allowance_of(uuid) is 'The account''s own row, or the one for everybody.';
alter function private.allowance_of(uuid) owner to precis_definer;

-- functions/gate.allowance.sql
create or replace function gate.allowance() returns private.allowance language sql stable security definer set search_path = '' as
  $$ select private.allowance_of(gate.uid()) $$;
comment on function gate.allowance() is
  'What the account that is signed in may have. A function, since the row for everybody is nobody''s own.';
alter function gate.allowance() owner to precis_definer;
grant execute on function gate.allowance() to pgrest_auth;

-- functions/private.refuse_quota.sql
create or replace function private.refuse_quota(code text, message text, seconds int) returns void language sql volatile set search_path = '' as $$
  select gate.refuse(429, code, message, 'GET /usage shows what is left.', jsonb_build_object('Retry-After', seconds::text))
$$;
comment on function private.refuse_quota(text, text, int) is 'Refuses for now, and says when to come back.';
alter function private.refuse_quota(text, text, int) owner to precis_definer;

-- functions/private.refuse_waiting.sql
create or replace function private.refuse_waiting(most int) returns void language sql volatile set search_path = '' as $$
  select private.refuse_quota('too_many_waiting',
    format('As many of your requests are waiting as may: %s. Send more when some of them have begun.', most), 30)
$$;
comment on function private.refuse_waiting(int) is 'Refuses because too many requests of the account would wait.';
alter function private.refuse_waiting(int) owner to precis_definer;

-- functions/private.check_quota.sql
create or replace function private.check_quota(used private.event_cursor, allowed private.allowance, bytes bigint) returns void language plpgsql volatile set search_path = '' as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  tomorrow constant int := ceil(extract(epoch from (today + 1)::timestamp - now() at time zone 'UTC'));
begin
  if used.day < today then used.day_requests := 0; used.day_bytes := 0; end if;
  if used.waiting >= allowed.requests_waiting then
    perform private.refuse_waiting(allowed.requests_waiting);
  elsif used.day_requests >= allowed.requests_per_day then
    perform private.refuse_quota('daily_requests_used',
      format('You have sent the %s requests that you may send in a day. Send more after midnight UTC.', allowed.requests_per_day), tomorrow);
  elsif used.day_bytes + bytes > allowed.bytes_per_day then
    perform private.refuse_quota('daily_bytes_used',
      format('With this request you would have sent more than the %s bytes that you may send in a day. Send it after midnight UTC.', allowed.bytes_per_day), tomorrow);
  end if;
end $$;
comment on function private.check_quota(private.event_cursor, private.allowance, bigint) is
  'Refuses one more request with so many bytes if a quota that its owner is allowed is used up. Takes the owner''s event cursor as it is while locked: no two inserts get the last place.';
alter function private.check_quota(private.event_cursor, private.allowance, bigint) owner to precis_definer;

-- functions/private.check_rate.sql
create or replace function private.check_rate(used private.event_cursor, changes int default 1) returns timestamptz language plpgsql stable set search_path = '' as $$
declare
  allowed constant int := (private.allowance_of(used.owner)).changes_per_minute;
  each constant interval := make_interval(secs => 60.0 / greatest(allowed, 1));
  -- No statement is refused for its size alone: private.count_rows bounds that.
  until constant timestamptz := greatest(used.changes_until, clock_timestamp()) + least(changes, greatest(allowed, 1)) * each;
  late constant int := ceil(extract(epoch from until - clock_timestamp()) - 60);
begin
  if late > 0 or allowed = 0 then
    perform private.refuse_quota('too_many_changes',
      format('These are more than the %s changes of requests that you may make in a minute. Go on a little later.', allowed), greatest(late, 1));
  end if;
  return case when allowed is not null then until end;
end $$;
comment on function private.check_rate(private.event_cursor, int) is
  'Refuses so many changes if they do not fit into a bucket that holds those of a minute. Until when it would be that much emptier; null without a limit.';
alter function private.check_rate(private.event_cursor, int) owner to precis_definer;

-- functions/private.charge_changes.sql
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

create view public.usage with (security_invoker = true) as
  select c.waiting as requests_waiting, a.requests_waiting as requests_waiting_limit,
         t.requests as requests_today, a.requests_per_day as requests_per_day_limit,
         t.bytes as bytes_today, a.bytes_per_day as bytes_per_day_limit,
         case when a.requests_waiting is not null then greatest(0, a.requests_waiting - c.waiting) end as requests_waiting_left,
         case when a.requests_per_day is not null then greatest(0, a.requests_per_day - t.requests) end as requests_left,
         case when a.bytes_per_day is not null then greatest(0, a.bytes_per_day - t.bytes) end as bytes_left,
         ((now() at time zone 'UTC')::date + 1)::timestamp at time zone 'UTC' as day_ends_at,
         a.changes_per_minute as changes_per_minute_limit,
         floor(a.changes_per_minute * least(1, 1 - extract(epoch from greatest(c.changes_until, now()) - now()) / 60))::int as changes_left
    from private.event_cursor c
   cross join gate.allowance() a
   cross join lateral (select case when c.day >= (now() at time zone 'UTC')::date then c.day_requests else 0 end as requests,
                              case when c.day >= (now() at time zone 'UTC')::date then c.day_bytes else 0 end as bytes) t
   where gate.is_fair();
comment on view public.usage is 'What you have used of your quotas and what is left: one row. Null in a limit, and in what is left of it, is no limit.';
comment on column public.usage.requests_waiting is 'How many of your requests are queued now, scheduled ones included.';
comment on column public.usage.requests_waiting_limit is 'How many may be queued at a time.';
comment on column public.usage.requests_today is 'How many requests you have sent today (UTC), and how often you have had one tried again.';
comment on column public.usage.requests_per_day_limit is 'How many you may send in a day.';
comment on column public.usage.bytes_today is 'How many bytes you have sent today (UTC), of the text and all other columns.';
comment on column public.usage.bytes_per_day_limit is 'How many you may send in a day.';
comment on column public.usage.requests_waiting_left is 'How many more may be queued now.';
comment on column public.usage.requests_left is 'How many more requests you may send today.';
comment on column public.usage.bytes_left is 'How many more bytes you may send today.';
comment on column public.usage.day_ends_at is 'When the daily quotas are whole again.';
comment on column public.usage.changes_per_minute_limit is 'How many requests you may change, cancel, try again or delete in a minute.';
comment on column public.usage.changes_left is 'How many of them you may now.';
grant select on public.usage to pgrest_auth;
create trigger usage_is_read_only instead of insert or update or delete on public.usage
  for each row execute function private.refuse_write();

notify pgrst, 'reload schema';

-- migrate:down
drop view public.usage;
drop function private.charge_changes(private.event_cursor, int), private.check_rate(private.event_cursor, int), private.check_quota(private.event_cursor, private.allowance, bigint), private.refuse_waiting(int),
  private.refuse_quota(text, text, int), gate.allowance(), private.allowance_of(uuid);
drop table private.allowance;
notify pgrst, 'reload schema';
