create or replace function gate.token_fault(claims jsonb) returns text
  language plpgsql stable security definer set search_path = '' as $$
declare
  expected private.token_issuer;
  uuid_pattern constant text := '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$';
begin
  select * into expected from private.token_issuer;
  if not found or claims ->> 'iss' is distinct from expected.issuer then return 'issuer'; end if;
  if claims -> 'aud' is null or not claims -> 'aud' @> to_jsonb(expected.audience) then return 'audience'; end if;
  if jsonb_typeof(claims -> 'exp') is distinct from 'number' then return 'expiry'; end if;
  if (claims ->> 'exp')::numeric <= extract(epoch from clock_timestamp()) - 30 then return 'expired'; end if;
  if coalesce(claims ->> 'sub', '') !~ uuid_pattern then return 'subject'; end if;
  if coalesce(claims ->> 'sid', '') !~ uuid_pattern then return 'session'; end if;
  perform from private.session s join private.account a on a.id = s.account_id
    where s.id = (claims ->> 'sid')::uuid and a.id = (claims ->> 'sub')::uuid
      and private.session_fault(s, a.banned_at, a.password_changed_at) is null;
  if not found then return 'ended'; end if;
  return null;
end $$;
comment on function gate.token_fault(jsonb) is
  'What is wrong with a verified token''s claims, null if nothing: PostgREST itself accepts tokens without exp, aud or sub, any iss, and sessions that ended.';
alter function gate.token_fault(jsonb) owner to precis_definer;
