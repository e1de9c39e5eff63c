create or replace function private.fair_tag(owner uuid, model_id int) returns bigint
  language plpgsql volatile security definer set search_path = '' set enable_seqscan = off as $$
begin
  perform from private.event_cursor c
   where c.owner = fair_tag.owner
     and c.block >= coalesce((select e.n >> 4 from private.event e where e.owner = fair_tag.owner order by e.n desc limit 1), 0)
     for no key update;
  return (select private.next_tag(fair_tag.owner, m, private.step_of(m, private.allowance_of(fair_tag.owner)))
            from private.model m where m.id = fair_tag.model_id);
end $$;
comment on function private.fair_tag(uuid, int) is
  'The turn of a job that becomes ready, whatever made it so: the owner''s next one, under the lock that orders them. Sees the rows that the same statement has given one.';
alter function private.fair_tag(uuid, int) owner to precis_definer;
grant execute on function private.fair_tag(uuid, int) to listener;
