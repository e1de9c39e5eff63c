create or replace function private.deal_turns(jobs bigint[]) returns table (at tid, id bigint, request_id uuid, ready_at timestamptz, reached bigint)
  language plpgsql volatile security definer set search_path = '' set enable_seqscan = off set jit = off as $$
begin
  return query
  with turn as materialized (
    select j.ctid, j.id, j.request_id, j.owner, j.model_id, j.tag, j.updated_at, j.rank from private.job j where j.id = any (jobs)),
  best as materialized (
    select b.* from (select t.owner, t.model_id, min(t.rank) as rank, min(t.tag) as lowest, count(*) as turns from turn t
                      group by t.owner, t.model_id) o
     cross join lateral (
      select j.ctid, j.id, j.request_id, j.owner, j.model_id, j.tag, j.updated_at, j.rank from private.job j
       where j.owner = o.owner and j.model_id = o.model_id and j.rank > o.rank and (-j.tag) <= -o.lowest
         and j.state = 'ready' and j.run_at is null
       order by j.rank desc, (-j.tag) desc limit o.turns for no key update skip locked) b),
  ranked as materialized (
    select x.*, row_number() over o as place, count(*) filter (where x.bears) over m as turns,
           max(x.tag) filter (where x.bears) over m as last_turn
      from (select t.*, true as bears from turn t
            union all
            select b.*, false from best b where b.id <> all (jobs)) x
    window m as (partition by x.owner, x.model_id), o as (m order by x.rank desc, x.tag, x.id)),
  swapped as materialized (  -- bore a turn and does not take it, or takes one and bore none: of each as many
    select r.*, row_number() over (partition by r.owner, r.model_id, r.bears order by r.place) as n
      from ranked r where r.bears = (r.place > r.turns)),
  passed as (
    update private.job j set tag = t.tag
      from swapped s join swapped t on t.owner = s.owner and t.model_id = s.model_id and t.n = s.n and not t.bears
     where s.bears and j.id = s.id)
  select r.ctid, r.id, r.request_id, r.updated_at, r.last_turn from ranked r where r.place <= r.turns;
end $$;
comment on function private.deal_turns(bigint[]) is
  'Deals the turns of these jobs, which the claim holds, among their owners'' rows by rank, and locks who takes one: where they lie, since when they are ready, their owner''s last turn of these. Who bears a turn and takes none gets the tag of one who does.';
alter function private.deal_turns(bigint[]) owner to precis_definer;
grant execute on function private.deal_turns(bigint[]) to listener;
