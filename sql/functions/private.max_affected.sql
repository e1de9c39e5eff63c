create or replace function private.max_affected() returns int language sql stable set search_path = '' as $$
  select coalesce(min(said[1]::int), 100)
    from regexp_matches(gate.header('Prefer'), '(?:^|,)\s*max-affected\s*=\s*"?(\d{1,8})"?\s*(?=$|[,;])', 'gi') said
$$;
comment on function private.max_affected() is
  'How many rows the client lets its request change: what it says with Prefer: max-affected (PostgREST''s own word from 13 on), or 100. Of several such headers only the last is seen.';
alter function private.max_affected() owner to precis_definer;
