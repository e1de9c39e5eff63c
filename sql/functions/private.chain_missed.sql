create or replace function private.chain_missed(owners uuid[], models int[], tags bigint[], held bigint[]) returns bigint
  language plpgsql volatile security definer set search_path = '' set enable_seqscan = off as $$
declare
  late record;
  next_turn bigint;
  step bigint;
  clock_now bigint;
  moved bigint := 0;
  more bigint;
begin
  -- The cursors of all of them, in one order: the claim's own events lock the others' next, and two claims must not deadlock.
  for late in select o.owner, o.model_id, min(o.tag) as lowest from unnest(owners, models, tags) o(owner, model_id, tag)
               group by o.owner, o.model_id order by o.owner, o.model_id loop
    next_turn := private.fair_tag(late.owner, late.model_id);
    continue when late.lowest is null;
    select private.step_of(m, private.allowance_of(late.owner)), coalesce(pg_sequence_last_value(m.clock), 0)
      into step, clock_now from private.model m where m.id = late.model_id;
    with missed as materialized (
      select j.id, j.rank, j.tag from private.job j
       where j.state = 'ready' and j.run_at is null and j.owner = late.owner and j.model_id = late.model_id
         and (-j.tag) > -clock_now and (-j.tag) <= -late.lowest and j.id <> all (held)
         for no key update skip locked),
    placed as (select m.id, row_number() over (order by m.rank desc, m.tag, m.id) - 1 as place from missed m)
    update private.job j set tag = next_turn + p.place * step from placed p where j.id = p.id;
    get diagnostics more = row_count;
    moved := moved + more;
  end loop;
  return moved;
end $$;
comment on function private.chain_missed(uuid[], int[], bigint[], bigint[]) is
  'Puts the rows of owners that lie below the clock, from the least of their tags on (none of them where all are null), behind the owner''s last: their transaction was open, or somebody held them, while the clock went on. Not those that the claim itself holds. How many were moved.';
alter function private.chain_missed(uuid[], int[], bigint[], bigint[]) owner to precis_definer;
grant execute on function private.chain_missed(uuid[], int[], bigint[], bigint[]) to listener;
