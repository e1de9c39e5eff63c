create or replace function gate.refuse_busy() returns void language plpgsql volatile set search_path = '' as $$
begin
  -- Not 503: PostgREST takes that for a lost database, reconnects, and adds a Retry-After of its own.
  perform gate.refuse(409, 'busy', 'Something else holds what this needs. Nothing was changed; try again in a moment.',
                      headers => '{"Retry-After": "1"}');
end $$;
comment on function gate.refuse_busy() is 'What whoever waited too long for a lock is told, instead of 55P03, 40P01 or 57014.';
grant execute on function gate.refuse_busy() to precis_definer;
