create or replace function gate.public_keys(out jwk jsonb, out issuer text, out audience text) returns setof record
  language sql stable security definer set search_path = '' as $$
  select k.public_jwk, i.issuer, i.audience from private.signing_key k cross join private.token_issuer i
$$;
comment on function gate.public_keys() is 'The keys, issuer and audience that a bearer token is verified against.';
alter function gate.public_keys() owner to precis_definer;
grant execute on function gate.public_keys() to listener_events;
