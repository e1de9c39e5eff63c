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
