create or replace function private.check_change() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if coalesce(current_setting('request.method', true), '') = '' then return null; end if;  -- nobody at PostgREST
  perform gate.check_statement();
  if tg_op <> 'INSERT' and strpos(current_query(), ' WHERE ') = 0 then
    perform gate.refuse(400, 'no_filter', format('Without a filter this would %s all your requests: name the rows, as in ?id=eq.<id>.',
                        case tg_op when 'DELETE' then 'delete' else 'change' end),
                        'POST /rpc/clear {"state": "done"} deletes all that are done, and so on for each state.');
  end if;
  if tg_op <> 'INSERT' then
    perform private.check_rate(c) from private.event_cursor c where c.owner = gate.uid();
  end if;
  perform set_config('precis.shows_rows', case when strpos(current_query(), 'RETURNING 1)') = 0 then 'yes' end, true);
  return null;
end $$;
comment on function private.check_change() is
  'Refuses a statement of a client before it touches a row: one that no view has looked at, and one that names no rows. Notes whether the rows are to be answered.';
alter function private.check_change() owner to precis_definer;
