create or replace function private.count_rows() returns void language plpgsql volatile set search_path = '' as $$
declare
  rows constant int := coalesce(nullif(current_setting('precis.rows', true), ''), '0')::int + 1;
  is_insert constant boolean := current_setting('request.method', true) = 'POST';
  asked int;
begin
  if coalesce(current_setting('request.method', true), '') = '' then return; end if;
  perform set_config('precis.rows', rows::text, true);
  if is_insert and rows > 1000 then
    perform gate.refuse(413, 'too_many_rows', 'This is more than 1000 requests at once. Send them in several parts.');
  elsif is_insert and clock_timestamp() > statement_timestamp() + interval '7 s' then  -- before statement_timeout says so
    perform gate.refuse(413, 'too_many_rows', 'So many requests take longer to store than a request may. Send fewer at once.');
  elsif not is_insert then
    asked := private.max_affected();
    if rows > least(asked, 1000) then
      perform gate.refuse(400, 'too_many_rows', format('This would change more than %s requests.', least(asked, 1000))
                          || case when asked < 1000 then ' Name fewer rows, or say how many it may be: the header Prefer: max-affected=1000 allows most.'
                                  else ' Name fewer rows, or use POST /rpc/clear.' end);
    end if;
  end if;
end $$;
comment on function private.count_rows() is 'Counts the rows that an HTTP request adds, changes or deletes, and refuses it when they become too many.';
alter function private.count_rows() owner to precis_definer;
