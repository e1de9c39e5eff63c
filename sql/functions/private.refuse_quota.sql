create or replace function private.refuse_quota(code text, message text, seconds int) returns void language sql volatile set search_path = '' as $$
  select gate.refuse(429, code, message, 'GET /usage shows what is left.', jsonb_build_object('Retry-After', seconds::text))
$$;
comment on function private.refuse_quota(text, text, int) is 'Refuses for now, and says when to come back.';
alter function private.refuse_quota(text, text, int) owner to precis_definer;
