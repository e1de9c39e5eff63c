create or replace function gate.check_http(method text, path text) returns void language plpgsql stable security definer set search_path = '' as $$
declare
  most_bytes constant int := 8 * 1024 * 1024;
begin
  if gate.claims() ->> 'role' is distinct from 'pgrest_auth' then
    if path = '/models' then return; end if;  -- all that they may read
    if exists (select from pg_catalog.pg_class c where c.relnamespace = 'public'::regnamespace and '/' || c.relname = path
                  and c.relkind = 'v' and not has_table_privilege('pgrest_anon', c.oid, 'select'))
       or exists (select from pg_catalog.pg_proc p where p.pronamespace = 'public'::regnamespace and '/rpc/' || p.proname = path
                     and not has_function_privilege('pgrest_anon', p.oid, 'execute')) then
      perform gate.refuse(401, 'token_missing', 'This needs a signed-in person: send an access token in the header Authorization.',
                          'POST /auth/login answers a token; the header is "Authorization: Bearer" and the token.',
                          '{"WWW-Authenticate": "Bearer"}');
    end if;
  elsif method in ('GET', 'HEAD') then
    -- A change may wait for a lock. Who reads waits for none, and holds one of everybody's few connections.
    perform set_config('statement_timeout', '3s', true);
  end if;
  if method in ('GET', 'HEAD') then return; end if;
  if gate.header('Transfer-Encoding') ilike '%chunked%' then
    perform gate.refuse(411, 'length_required', 'Send the body in one piece, with a Content-Length.');
  elsif gate.header('Content-Length')::numeric > most_bytes then
    perform gate.refuse(413, 'body_too_large', 'The body is larger than 8 MiB. Send the requests in several parts.');
  elsif gate.header('Prefer') ~* 'resolution\s*=' then
    perform gate.refuse(400, 'upsert_not_offered', 'A request cannot be merged into another or passed over for one: leave out resolution= and on_conflict=.',
                        'An Idempotency-Key makes sending the same request twice safe; PATCH changes one that is there.');
  end if;
end $$;
comment on function gate.check_http(text, text) is
  'Refuses what is wrong with an HTTP request as a whole, before a statement is made of it, and lets a read take three seconds.';
alter function gate.check_http(text, text) owner to precis_definer;
