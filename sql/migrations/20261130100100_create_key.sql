-- The keys that sign access tokens, what the tokens must say, and how both reach those who verify them.
-- Locks: none on existing tables.

-- migrate:up
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
alter table private.signing_key enable row level security;
grant select, insert, update, delete on private.signing_key to authsvc;
grant select (public_jwk, state, created_at) on private.signing_key to precis_definer;  -- not what signs
create policy authsvc on private.signing_key to authsvc using (true) with check (true);
create policy precis_definer on private.signing_key for select to precis_definer using (true);

create table private.token_issuer (
  only_row boolean primary key default true constraint token_issuer_has_one_row check (only_row),
  issuer text not null,
  audience text not null
);
comment on table private.token_issuer is 'What iss and aud of our tokens must be. Written by authsvc when it starts.';
alter table private.token_issuer enable row level security;
grant select, insert, update on private.token_issuer to authsvc;
grant select on private.token_issuer to precis_definer;
create policy authsvc on private.token_issuer to authsvc using (true) with check (true);
create policy precis_definer on private.token_issuer for select to precis_definer using (true);

-- functions/gate.pre_config.sql
create or replace function gate.pre_config() returns void language plpgsql security definer set search_path = '' as $$
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
comment on function gate.pre_config() is 'PostgREST''s db-pre-config: hands it the keys that tokens are verified with.';
alter function gate.pre_config() owner to precis_definer;
grant execute on function gate.pre_config() to authenticator;

-- functions/gate.public_keys.sql
create or replace function gate.public_keys(out jwk jsonb, out issuer text, out audience text) returns setof record
  language sql stable security definer set search_path = '' as $$
  select k.public_jwk, i.issuer, i.audience from private.signing_key k cross join private.token_issuer i
$$;
comment on function gate.public_keys() is 'The keys, issuer and audience that a bearer token is verified against.';
alter function gate.public_keys() owner to precis_definer;
grant execute on function gate.public_keys() to listener_events;

notify pgrst, 'reload schema';

-- migrate:down
drop function gate.public_keys(), gate.pre_config();
drop table private.token_issuer, private.signing_key;
notify pgrst, 'reload schema';
