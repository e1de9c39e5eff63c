create or replace function private.chain_missed(owner uuid, model_id int, lowest bigint) returns bigint
  language plpgsql volatile security definer set search_path = '' set enable_seqscan = off as $$
declare
  next_turn constant bigint := private.fair_tag(owner, model_id);
  step bigint;
  clock_now bigint;
  moved bigint;
begin
  select private.step_of(m, private.allowance_of(chain_missed.owner)), coalesce(pg_sequence_last_value(m.clock), 0)
    into step, clock_now from private.model m where m.id = chain_missed.model_id;
  with missed as materialized (
    select j.id, j.rank, j.tag from private.job j
     where j.state = 'ready' and j.run_at is null and j.owner = chain_missed.owner
       and j.model_id = chain_missed.model_id and (-j.tag) > -clock_now and (-j.tag) <= -lowest
       for no key update skip locked),
  placed as (select m.id, row_number() over (order by m.rank desc, m.tag, m.id) - 1 as place from missed m)
  update private.job j set tag = next_turn + p.place * step from placed p where j.id = p.id;
  get diagnostics moved = row_count;
  return moved;
end $$;
comment on function private.chain_missed(uuid, int, bigint) is
  'Puts an owner''s rows that lie below the clock, from a tag on, behind the owner''s last: their transaction was open, or somebody held them, while the clock went on. How many.';
alter function private.chain_missed(uuid, int, bigint) owner to precis_definer;
grant execute on function private.chain_missed(uuid, int, bigint) to listener;
