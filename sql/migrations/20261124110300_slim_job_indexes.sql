-- Fewer indexes on the hot row: each claim and each finish writes into all that hold it. One index on request_id does for
-- two, and what runs is little enough to be looked through for its deadline.
-- Locks: ACCESS EXCLUSIVE on private.job while the new index is built (on a large table build it before, concurrently, under
-- the same name). On private.session first, so that nobody who is served meanwhile deadlocks with it.

-- migrate:up
lock table private.session, private.job in access exclusive mode;
create unique index if not exists job_request_idx on private.job (request_id, (case when kind <> 'root' then id end))
  nulls not distinct;  -- one root job per request; joins; cancel and the cascade of a delete: all jobs, whatever kind
drop index private.job_root_idx, private.job_request_id_idx, private.job_deadline_idx;
notify pgrst, 'reload schema';

-- migrate:down
create unique index job_root_idx on private.job (request_id) where kind = 'root';
create index job_request_id_idx on private.job (request_id);
create index job_deadline_idx on private.job (deadline_at) where state = 'running';
drop index private.job_request_idx;
notify pgrst, 'reload schema';
