create or replace function gate.is_affordable(bytes int, name text) returns boolean language plpgsql stable security definer cost 1000
  set search_path = '' as $$
declare
  most constant int := 6500000;
  column_name constant text := format('."%s"', name);
  asked text := current_query();
  times int := 1;
  sum bigint;
begin
  -- A view is asked anew for each naming of its column. A row that a change or a function answers with is made once, and
  -- named as often as the statement does so from there on; or never, where no row is to be answered.
  if current_setting('request.method', true) not in ('GET', 'HEAD') then
    if current_setting('request.path', true) not like '/rpc/%' then asked := substr(asked, strpos(asked, 'RETURNING ')); end if;
    asked := replace(asked, '.*', column_name);
    times := (length(asked) - length(replace(asked, column_name, ''))) / length(column_name);
    if times = 0 then return true; end if;
    times := greatest(times - 1, 1);
  end if;
  sum := coalesce(nullif(current_setting('precis.answer_bytes', true), ''), '0')::bigint + bytes::bigint * times;
  if sum > most then
    perform gate.refuse(400, 'answer_too_large',
      'The texts that this reads come to more than 6.5 MB. Leave out text and result with select=, or ask for fewer rows with limit=.');
  end if;
  -- A search in a long text is work that no row interrupts.
  if sum > 262144 and strpos(current_query(), ' WHERE ') > 0 and strpos(substr(current_query(), strpos(current_query(), ' WHERE ')), column_name) > 0 then
    perform gate.is_let_work(null);
  end if;
  perform set_config('precis.answer_bytes', sum::text, true);
  return true;
end $$;
comment on function gate.is_affordable(int, text) is
  'Adds to what the answer to this HTTP request holds, and refuses it where that is too much: memory of PostgREST and Postgres is everybody''s.';
alter function gate.is_affordable(int, text) owner to precis_definer;
grant execute on function gate.is_affordable(int, text) to pgrest_auth, event_reader;
