create or replace function private.resolve_model(asked text) returns private.model language plpgsql stable set search_path = '' as $$
declare
  model private.model;
begin
  if asked is null then
    select * into model from private.model m where m.is_default;
    if not found then
      -- Not 503: PostgREST takes that for a lost database, reconnects, and adds a Retry-After of its own.
      perform gate.refuse(409, 'no_model', 'No worker has announced a model yet. Try again in a moment.',
                          headers => '{"Retry-After": "5"}');
    end if;
    return model;
  end if;
  select * into model from private.model m where m.name in (asked, asked || ':latest') order by m.name = asked desc limit 1;
  if not found then
    perform gate.refuse(422, 'unknown_model', 'No model of that name is served here.', 'GET /models lists them.');
  end if;
  return model;
end $$;
comment on function private.resolve_model(text) is 'The model that a request names, or the default.';
alter function private.resolve_model(text) owner to precis_definer;
