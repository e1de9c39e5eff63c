create or replace function private.requeue_tag(model_id int, priority smallint) returns bigint language sql volatile set search_path = '' as $$
  select coalesce(pg_sequence_last_value(m.clock), 0) + m.step / 2 - priority * private.head_start()
    from private.model m where m.id = model_id
$$;
comment on function private.requeue_tag(int, smallint) is
  'The tag of a job that becomes ready again. Drawn from the clock, so that no tag is ever written below the claim''s floor.';
alter function private.requeue_tag(int, smallint) owner to precis_definer;
grant execute on function private.requeue_tag(int, smallint) to listener;
