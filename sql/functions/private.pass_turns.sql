create or replace function private.pass_turns(jobs bigint[], tags bigint[]) returns void
  language sql volatile security definer set search_path = '' as $$
  update private.job j set tag = t.tag from unnest(jobs, tags) t(id, tag) where j.id = t.id
$$;
comment on function private.pass_turns(bigint[], bigint[]) is
  'Gives each of the jobs, which the claim holds, the turn of the one that went before it.';
alter function private.pass_turns(bigint[], bigint[]) owner to precis_definer;
grant execute on function private.pass_turns(bigint[], bigint[]) to listener;
