-- The log of attempts: what became of each claim of a job, for those who ask what happened to their request.
-- Locks: ACCESS EXCLUSIVE on private.job for a column without default and while job_finished_at_idx is built (on a large table
-- build that one before, concurrently, under the same name); on private.worker and private.request for a policy, on
-- public.requests for its new form. On private.session first, and in this order, so that nobody who is served meanwhile
-- deadlocks with it.

-- migrate:up
lock table private.session, private.request, private.worker, private.job in access exclusive mode;
alter table private.job add started_at timestamptz;
comment on column private.job.started_at is 'First claim since a person asked for it: the budget of total time counts from here.';
comment on column private.job.error_code is 'Why the last attempt ended without a result. What a client sees of it, it sees once the job has failed.';
create index if not exists job_finished_at_idx on private.job (finished_at) where finished_at is not null;  -- retention, dead letters

create table private.attempt (
  job_id bigint not null,
  epoch bigint not null,
  request_id uuid not null,
  owner uuid not null,
  worker_id int not null,
  worker text,
  claimed_at timestamptz,
  ended_at timestamptz not null default clock_timestamp(),
  outcome text not null,
  error_code text,
  error_message text,
  primary key (job_id, epoch),
  constraint attempt_outcome_is_known check (outcome in ('done', 'failed', 'cancelled', 'retried', 'released', 'rescued'))
);
create index attempt_owner_request_id_idx on private.attempt (owner, request_id);  -- what happened to my request; row security
comment on table private.attempt is
  'One row for each claim that has ended, however it did: written by the trigger on job, so that no way out can forget it. Goes with its request.';
comment on column private.attempt.outcome is
  'done, failed, cancelled; retried: it failed and was queued again; released: its worker gave it back; rescued: its worker died.';
alter table private.attempt enable row level security;
grant select (request_id, owner, epoch, claimed_at, ended_at, outcome, error_code, error_message) on private.attempt to pgrest_auth;
grant select, insert, delete on private.attempt to precis_definer;
grant select (id, name) on private.worker to precis_definer;
create policy web_reads_own on private.attempt for select to pgrest_auth using (owner = (select gate.uid()));
create policy precis_definer on private.attempt to precis_definer using (true) with check (true);
create policy precis_definer on private.worker for select to precis_definer using (true);

create view public.attempts with (security_invoker = true) as
  select a.request_id, a.epoch as n, a.claimed_at as started_at, a.ended_at, a.outcome, a.error_code, a.error_message
    from private.attempt a;
comment on view public.attempts is 'What was tried for your requests: one row for each attempt that has ended.';
comment on column public.attempts.request_id is 'The request.';
comment on column public.attempts.n is 'Counts the attempts at the request; one that was under way when it was looked at is missing.';
comment on column public.attempts.started_at is 'When a worker took it.';
comment on column public.attempts.ended_at is 'When it ended.';
comment on column public.attempts.outcome is
  'done, failed, cancelled; retried: it failed and was queued again; released: the worker was stopped and gave it back; rescued: the worker died.';
comment on column public.attempts.error_code is 'A stable word, if it failed.';
comment on column public.attempts.error_message is 'What happened, if it failed.';
grant select on public.attempts to pgrest_auth;
create trigger attempts_are_read_only instead of insert or update or delete on public.attempts
  for each row execute function private.refuse_write();

create or replace function private.log_job() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  changed record;
begin
  if tg_op = 'INSERT' then
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id),
                                  array_agg((n.state = 'ready')::int), array_agg(coalesce(octet_length(r.text), 0)::bigint), false)
       from after_rows n cross join lateral (select r.text from private.request r where r.id = n.request_id limit 1) r
      where n.kind = 'root' having count(*) > 0;
  elsif tg_op = 'DELETE' then
    perform private.append_events('request', array_agg(o.owner), array_agg(null::uuid), array_agg(-1), null, true)
       from before_rows o where o.kind = 'root' and o.state = 'ready' having count(*) > 0;
    delete from private.attempt a where a.job_id = any (array(select o.id from before_rows o where o.epoch > 0));
  else
    -- What a client cannot see is no event: leases, tags, progress of a stream.
    select array_agg(c.owner) filter (where c.seen) as owners, array_agg(c.request_id) filter (where c.seen) as refs,
           array_agg(c.waits) filter (where c.seen) as waits, bool_or(c.ended) as any_ended into changed
      from (select n.owner, n.request_id, (n.state = 'ready')::int - (o.state = 'ready')::int as waits,
                   -- The states as gate.request_state tells them apart, without a call of it for each row.
                   n.kind = 'root' and (case n.state when 'waiting' then 'running' else n.state end, n.priority, n.run_at)
                      is distinct from (case o.state when 'waiting' then 'running' else o.state end, o.priority, o.run_at) as seen,
                   o.state = 'running' and n.state in ('ready', 'done', 'failed', 'cancelled') as ended
              from after_rows n join before_rows o on o.id = n.id) c;
    if changed.owners is not null then
      perform private.append_events('request', changed.owners, changed.refs, changed.waits, null, false);
    end if;
    if changed.any_ended then
      insert into private.attempt (job_id, epoch, request_id, owner, worker_id, worker, claimed_at, outcome, error_code, error_message)
        select o.id, o.epoch, o.request_id, o.owner, o.worker_id, w.name, o.claimed_at,
               case when n.state <> 'ready' then n.state when n.error_code is null then 'released'
                    when n.error_code = 'worker_lost' then 'rescued' else 'retried' end,
               case when n.state in ('ready', 'failed') then n.error_code end,  -- the release before left it standing
               case when n.state in ('ready', 'failed') then n.error_message end
          from before_rows o join after_rows n on n.id = o.id left join private.worker w on w.id = o.worker_id
         where o.state = 'running' and n.state in ('ready', 'done', 'failed', 'cancelled');
    end if;
  end if;
  return null;
end $$;
comment on function private.log_job is
  'A root job changed in a way that a client can see, or its owner''s queue got longer or shorter, or an attempt at a job has ended.';

create or replace view public.requests with (security_invoker = true) as
  select r.id, r.title, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style, r.language, r.model,
         j.priority, j.run_at, gate.request_state(j.state) as state, j.progress, s.body as result, s.checks, s.engine,
         case when j.state = 'failed' then j.error_code end as error_code,
         case when j.state = 'failed' then j.error_message end as error_message, r.created_at, j.updated_at, j.finished_at
    from private.request r
    join private.job j on j.request_id = r.id and j.kind = 'root'
    left join private.result s on s.request_id = r.id;

create or replace function private.request_row(request_id uuid) returns public.requests language sql stable set search_path = '' as $$
  select r.id, r.title, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style, r.language, r.model,
         j.priority, j.run_at, gate.request_state(j.state), j.progress, s.body, s.checks, s.engine,
         case when j.state = 'failed' then j.error_code end, case when j.state = 'failed' then j.error_message end,
         r.created_at, j.updated_at, j.finished_at
    from private.request r join private.job j on j.request_id = r.id and j.kind = 'root'
    left join private.result s on s.request_id = r.id
   where r.id = request_row.request_id
$$;

-- Retention: the listener deletes what has been over for long.
grant delete on private.request to listener;
create policy listener_deletes on private.request for delete to listener using (true);

notify pgrst, 'reload schema';

-- migrate:down
drop policy listener_deletes on private.request;
revoke delete on private.request from listener;
create or replace view public.requests with (security_invoker = true) as
  select r.id, r.title, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style, r.language, r.model,
         j.priority, j.run_at, gate.request_state(j.state) as state, j.progress, s.body as result, s.checks, s.engine,
         j.error_code, j.error_message, r.created_at, j.updated_at, j.finished_at
    from private.request r
    join private.job j on j.request_id = r.id and j.kind = 'root'
    left join private.result s on s.request_id = r.id;
create or replace function private.request_row(request_id uuid) returns public.requests language sql stable set search_path = '' as $$
  select r.id, r.title, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style, r.language, r.model,
         j.priority, j.run_at, gate.request_state(j.state), j.progress, s.body, s.checks, s.engine,
         j.error_code, j.error_message, r.created_at, j.updated_at, j.finished_at
    from private.request r join private.job j on j.request_id = r.id and j.kind = 'root'
    left join private.result s on s.request_id = r.id
   where r.id = request_row.request_id
$$;
create or replace function private.log_job() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id),
                                  array_agg((n.state = 'ready')::int), array_agg(coalesce(octet_length(r.text), 0)::bigint), false)
       from after_rows n cross join lateral (select r.text from private.request r where r.id = n.request_id limit 1) r
      where n.kind = 'root' having count(*) > 0;
  elsif tg_op = 'DELETE' then
    perform private.append_events('request', array_agg(o.owner), array_agg(null::uuid), array_agg(-1), null, true)
       from before_rows o where o.kind = 'root' and o.state = 'ready' having count(*) > 0;
  else
    -- What a client cannot see is no event: leases, tags, progress of a stream.
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id),
                                  array_agg((n.state = 'ready')::int - (o.state = 'ready')::int), null, false)
       from after_rows n join before_rows o on o.id = n.id
      -- The states as gate.request_state tells them apart, without a call of it for each row.
      where n.kind = 'root' and (case n.state when 'waiting' then 'running' else n.state end, n.priority, n.run_at)
                     is distinct from (case o.state when 'waiting' then 'running' else o.state end, o.priority, o.run_at)
     having count(*) > 0;
  end if;
  return null;
end $$;
comment on function private.log_job is 'A root job changed in a way that a client can see, or its owner''s queue got longer or shorter.';
drop view public.attempts;
drop table private.attempt;
drop policy precis_definer on private.worker;
revoke select (id, name) on private.worker from precis_definer;
drop index private.job_finished_at_idx;
comment on column private.job.error_code is null;
alter table private.job drop started_at;
notify pgrst, 'reload schema';
