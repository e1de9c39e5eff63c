create or replace function gate.check_token() returns void language plpgsql stable security definer set search_path = '' as $$
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
comment on function gate.check_token() is 'Refuses a token that PostgREST lets pass.';
alter function gate.check_token() owner to precis_definer;
