create or replace function private.next_tag(owner uuid, model private.model, step bigint, priority smallint) returns bigint
  language plpgsql volatile set search_path = '' set enable_seqscan = off set enable_sort = off as $$
declare
  clock_now constant bigint := coalesce(pg_sequence_last_value(model.clock), 0);
  last_tag bigint;
begin
  select j.tag into last_tag from private.job j
   where j.state = 'ready' and j.run_at is null and j.owner = next_tag.owner and j.model_id = next_tag.model.id
     and j.priority = next_tag.priority and (-j.tag) < -(clock_now - next_tag.priority * private.head_start())
   order by (-j.tag) limit 1;
  if found then return last_tag + step; end if;
  return clock_now + step / 2 - priority * private.head_start();
end $$;
comment on function private.next_tag(uuid, private.model, bigint, smallint) is
  'The tag of a new job: one step behind the owner''s last ready one, or half a step behind the clock. Needs the lock on the owner''s event cursor, and holds it up.';
alter function private.next_tag(uuid, private.model, bigint, smallint) owner to precis_definer;
