create or replace function private.allowance_of(owner uuid) returns private.allowance language sql stable set search_path = '' as $$
  select a.* from private.allowance a where a.owner = allowance_of.owner
  union all
  select a.* from private.allowance a where a.owner is null
  limit 1
$$;
comment on function private.allowance_of(uuid) is 'The account''s own row, or the one for everybody.';
alter function private.allowance_of(uuid) owner to precis_definer;
