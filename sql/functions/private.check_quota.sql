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
