-- Accounts, sessions, signing keys: what authsvc keeps, and the gate that makes PostgREST honour it.
-- Locks: none on existing tables.

-- migrate:up
create table private.account (
  id uuid primary key default gen_random_uuid(),
  email text not null,
  email_key text not null constraint account_email_is_unique unique,
  password_hash text,
  password_changed_at timestamptz,
  email_verified_at timestamptz,
  banned_at timestamptz,
  created_at timestamptz not null default now(),
  constraint account_email_is_short check (char_length(email) <= 320 and char_length(email_key) <= 320)
);
comment on table private.account is 'A person. email is what was typed, email_key its normal form.';

create table private.session (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references private.account on delete cascade,
  generation int not null default 0,
  rotated_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  authenticated_at timestamptz not null default now(),
  expires_at timestamptz not null,
  idle_expires_at timestamptz not null,
  revoked_at timestamptz,
  revoke_reason text,
  amr text[] not null default '{pwd}',
  aal smallint not null default 1,
  ip_prefix inet,
  user_agent text,
  constraint session_says_why_it_was_revoked check ((revoked_at is null) = (revoke_reason is null)),
  constraint session_user_agent_is_short check (char_length(user_agent) <= 200)
) with (fillfactor = 70);
-- Lists and evicts the sessions of one account. Nothing that a rotation changes is indexed, so that it stays HOT.
create index session_account_id_idx on private.session (account_id, created_at);
comment on table private.session is 'One sign-in: a refresh token family. generation counts its rotations.';

create table private.signing_key (
  kid text primary key,
  public_jwk jsonb not null,
  private_key bytea not null,
  state text not null,
  created_at timestamptz not null default now(),
  activated_at timestamptz,
  retired_at timestamptz,
  constraint signing_key_state_is_known check (state in ('next', 'active', 'retiring')),
  -- PostgREST takes a key set that it cannot parse for an HMAC secret, and the published set would then forge tokens.
  -- So nothing but a plain Ed25519 key can stand here; without coalesce a missing member would be null, and null passes.
  constraint signing_key_is_ed25519 check (coalesce(
    public_jwk ->> 'kty' = 'OKP' and public_jwk ->> 'crv' = 'Ed25519' and public_jwk ->> 'alg' = 'EdDSA'
    and public_jwk ->> 'use' = 'sig' and public_jwk ->> 'kid' = kid and kid ~ '^[A-Za-z0-9_-]{43}$'
    and public_jwk ->> 'x' ~ '^[A-Za-z0-9_-]{43}$'
    and public_jwk - array['kty', 'crv', 'x', 'kid', 'alg', 'use'] = '{}', false))
);
create unique index signing_key_active_idx on private.signing_key (state) where state = 'active';
comment on table private.signing_key is 'Keys that sign access tokens. private_key is encrypted by authsvc.';

create table private.token_issuer (
  only_row boolean primary key default true constraint token_issuer_has_one_row check (only_row),
  issuer text not null,
  audience text not null
);
comment on table private.token_issuer is 'What iss and aud of our tokens must be. Written by authsvc when it starts.';

create unlogged table private.rate_bucket (
  key bytea primary key,
  tokens double precision not null,
  refilled_at timestamptz not null default now()
) with (fillfactor = 50);
create index rate_bucket_refilled_at_idx on private.rate_bucket (refilled_at);  -- clean-up of full buckets
comment on table private.rate_bucket is 'Token buckets of the rate limits. Keys are HMACs. Lost in a crash, on purpose.';

create table private.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  event text not null,
  account_id uuid,
  session_id uuid,
  ip_prefix inet,
  request_id text,
  detail text
);
create index audit_account_id_idx on private.audit (account_id, at);
comment on table private.audit is 'What happened to accounts and sessions. Append only; no secret, no address in clear.';

alter table private.account enable row level security;
alter table private.session enable row level security;
alter table private.signing_key enable row level security;
alter table private.token_issuer enable row level security;
alter table private.rate_bucket enable row level security;
alter table private.audit enable row level security;

grant select, insert, update on private.account, private.session, private.token_issuer to authsvc;
grant delete on private.account, private.session to authsvc;
grant select, insert, update, delete on private.signing_key, private.rate_bucket to authsvc;
grant select, insert on private.audit to authsvc;
grant select on private.account, private.session, private.signing_key, private.token_issuer to precis_definer;
create policy authsvc on private.account to authsvc using (true) with check (true);
create policy authsvc on private.session to authsvc using (true) with check (true);
create policy authsvc on private.signing_key to authsvc using (true) with check (true);
create policy authsvc on private.token_issuer to authsvc using (true) with check (true);
create policy authsvc on private.rate_bucket to authsvc using (true) with check (true);
create policy authsvc on private.audit to authsvc using (true) with check (true);
create policy precis_definer on private.account for select to precis_definer using (true);
create policy precis_definer on private.session for select to precis_definer using (true);
create policy precis_definer on private.signing_key for select to precis_definer using (true);
create policy precis_definer on private.token_issuer for select to precis_definer using (true);

create function gate.token_fault(claims jsonb) returns text
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
      and s.revoked_at is null and s.expires_at > clock_timestamp() and a.banned_at is null;
  if not found then return 'ended'; end if;
  return null;
end $$;
comment on function gate.token_fault is
  'What is wrong with a verified token''s claims, null if nothing: PostgREST itself accepts tokens without exp, aud or sub, any iss, and sessions that ended.';

create function gate.pre_request() returns void language plpgsql stable security definer set search_path = '' as $$
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
comment on function gate.pre_request is
  'Runs before every request of PostgREST and every read of an event stream: refuses tokens that PostgREST lets pass.';

create function gate.pre_config() returns void language plpgsql security definer set search_path = '' as $$
begin
  -- The active key first: PostgREST 12 tries keys in order. The random member keeps this document secret, so that
  -- it is worthless even if some PostgREST failed to parse it and took its text for an HMAC secret. It stands in front,
  -- which json keeps and jsonb would not: half a document is as secret.
  perform set_config('pgrst.jwt_secret', json_build_object(
      'x-pad', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
      'keys', coalesce((select jsonb_agg(k.public_jwk order by k.state = 'active' desc, k.created_at desc)
                        from private.signing_key k), '[]'))::text, true);
  perform set_config('pgrst.jwt_aud', i.audience, true) from private.token_issuer i;
end $$;
comment on function gate.pre_config is 'PostgREST''s db-pre-config: hands it the keys that tokens are verified with.';

create function gate.public_keys(out jwk jsonb, out issuer text, out audience text) returns setof record
  language sql stable security definer set search_path = '' as $$
  select k.public_jwk, i.issuer, i.audience from private.signing_key k cross join private.token_issuer i
$$;
comment on function gate.public_keys is 'The keys, issuer and audience that a bearer token is verified against.';

alter function gate.token_fault(jsonb) owner to precis_definer;
alter function gate.pre_request() owner to precis_definer;
alter function gate.pre_config() owner to precis_definer;
alter function gate.public_keys() owner to precis_definer;
grant execute on function gate.pre_request() to pgrest_anon, pgrest_auth;
grant execute on function gate.pre_config() to authenticator;
grant execute on function gate.public_keys() to listener_events;

notify pgrst, 'reload schema';

-- migrate:down
drop function gate.public_keys(), gate.pre_config(), gate.pre_request(), gate.token_fault(jsonb);
drop table private.audit, private.rate_bucket, private.token_issuer, private.signing_key, private.session, private.account;
notify pgrst, 'reload schema';
