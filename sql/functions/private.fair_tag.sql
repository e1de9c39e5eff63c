create or replace function private.fair_tag(owner uuid, model_id int, priority smallint) returns bigint
  language sql volatile security definer set search_path = '' as $$
  select private.next_tag(fair_tag.owner, m, private.step_of(m, private.allowance_of(fair_tag.owner)), fair_tag.priority)
    from private.model m where m.id = fair_tag.model_id
$$;
comment on function private.fair_tag(uuid, int, smallint) is
  'private.next_tag for a job that becomes ready otherwise than by an insert. Needs the same lock.';
alter function private.fair_tag(uuid, int, smallint) owner to precis_definer;
grant execute on function private.fair_tag(uuid, int, smallint) to listener;
