create or replace function gate.metered(value text, name text) returns text language sql stable
  return case when value is null or coalesce(current_setting('request.method', true), '') = ''
                   or gate.is_affordable(octet_length(to_json(value)::text), name) then value end;
comment on function gate.metered(text, text) is
  'A column of a view whose size is a client''s or a model''s to choose, with the name it has there: what PostgREST reads of it is counted.';
grant execute on function gate.metered(text, text) to pgrest_auth, event_reader, precis_definer;
create or replace function gate.metered(value jsonb, name text) returns jsonb language sql stable
  return case when value is null or coalesce(current_setting('request.method', true), '') = ''
                   or gate.is_affordable(octet_length(value::text), name) then value end;
comment on function gate.metered(jsonb, text) is 'The same for JSON.';
grant execute on function gate.metered(jsonb, text) to pgrest_auth, event_reader, precis_definer;
