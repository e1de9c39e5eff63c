create or replace function gate.pre_request() returns void language plpgsql stable security definer set search_path = '' as $$
declare
  claims jsonb := gate.claims();
  fault text;
begin
  if claims ->> 'role' is distinct from 'pgrest_auth' then return; end if;
  fault := gate.token_fault(claims);
  if fault is null then return; end if;
  perform gate.refuse(401,
    case fault when 'expired' then 'token_expired' when 'ended' then 'session_ended' else 'token_invalid' end,
    case fault when 'expired' then 'The access token has expired. Refresh it and try again.'
               when 'ended' then 'This session has ended. Sign in again.'
               else format('The access token has no acceptable %s. Sign in again.', fault) end,
    headers => jsonb_build_object('WWW-Authenticate', 'Bearer error="invalid_token"'));
end $$;
comment on function gate.pre_request() is
  'Runs before every request of PostgREST and every read of an event stream: refuses tokens that PostgREST lets pass.';
alter function gate.pre_request() owner to precis_definer;
grant execute on function gate.pre_request() to pgrest_anon, pgrest_auth, event_reader;
