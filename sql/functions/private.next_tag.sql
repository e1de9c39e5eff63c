create or replace function private.next_tag(owner uuid, model private.model, step bigint) returns bigint
  language plpgsql volatile set search_path = '' set enable_seqscan = off set enable_sort = off as $$
declare
  clock_now constant bigint := coalesce(pg_sequence_last_value(model.clock), 0);
  last_tag bigint;
begin
  -- Start-time fair queueing (sql/README.md, "Whose turn it is"). A tag is a turn of its owner on the model's clock; an owner's turns
  -- lie a step apart, so one of theirs at most stands before the first of somebody new, half a step behind the clock. Every way to
  -- become ready comes through here. The claim goes by tags and moves the clock; which row of the owner takes the turn, job.rank says.
  -- What is found below the clock has missed its turn, and comes through here again (private.chain_missed).
  select j.tag into last_tag from private.job j
   where j.state = 'ready' and j.run_at is null and j.owner = next_tag.owner and j.model_id = next_tag.model.id
     and (-j.tag) <= -clock_now
   order by (-j.tag) limit 1;
  if found then return last_tag + step; end if;
  return clock_now + step / 2;
end $$;
comment on function private.next_tag(uuid, private.model, bigint) is
  'The next turn of an owner: one step behind their last one, or half a step behind the clock. Needs the lock on the owner''s event cursor, and holds it up.';
alter function private.next_tag(uuid, private.model, bigint) owner to precis_definer;
