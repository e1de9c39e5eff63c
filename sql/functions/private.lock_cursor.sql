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
