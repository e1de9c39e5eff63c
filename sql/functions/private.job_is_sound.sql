create or replace function private.job_is_sound(state text, worker_id int, finished_at timestamptz, error_code text, kind text, priority smallint,
                                     rank smallint, progress real) returns boolean language sql immutable
  return state in ('ready', 'running', 'waiting', 'done', 'failed', 'cancelled')
     and (state = 'running') = (worker_id is not null)
     and (state in ('done', 'failed', 'cancelled')) = (finished_at is not null)
     and (state <> 'failed' or error_code is not null)
     and kind in ('root', 'chunk') and priority between -1 and 1 and rank - 2 * priority between 0 and 1 and progress between 0 and 1;
comment on function private.job_is_sound(text, int, timestamptz, text, text, smallint, smallint, real) is
  'What checks of private.job would say. Theirs are parsed anew by each statement, which costs a claim and a finish a fifth.';
alter function private.job_is_sound(text, int, timestamptz, text, text, smallint, smallint, real) owner to precis_definer;
