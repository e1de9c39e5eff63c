create or replace function private.tell(channel text, payload text) returns boolean language plpgsql set search_path = '' as $$
begin
  -- Somebody who listens inside an open transaction keeps the queue from being emptied. Once it is full, every commit that
  -- notifies fails: a client's insert as well. Nobody can catch that, since it happens at the commit itself.
  if pg_notification_queue_usage() > 0.9 then return false; end if;
  perform pg_notify(channel, payload);
  return true;
end $$;
comment on function private.tell(text, text) is
  'NOTIFY, unless the queue is nearly full: whether it was said. A notice only means "look", and everybody who waits for one also looks by themselves.';
grant execute on function private.tell(text, text) to authsvc, listener, listener_events, precis_definer;
