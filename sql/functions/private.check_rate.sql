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
