-- Requests, their jobs, results and partial text; the doorbell; the fair tag.
-- Locks: none on existing tables.

-- migrate:up
create table private.request (
  id uuid primary key default gen_random_uuid(),
  owner uuid not null references private.account on delete cascade,
  title text,
  task text not null,
  text text,
  document_id uuid,
  url text,
  target_words int,
  target_ratio real,
  style text not null default 'plain',
  language text,
  model text not null,
  idempotency_key text,
  body_hash bytea not null,
  created_at timestamptz not null default now(),
  constraint request_task_is_known check (task in ('summarize', 'shorten')),
  constraint request_has_one_source check (num_nonnulls(text, document_id, url) = 1),
  constraint request_text_is_at_most_1_mib check (octet_length(text) <= 1048576),
  constraint request_has_one_target check (num_nonnulls(target_words, target_ratio) <= 1),
  constraint request_target_words_is_sane check (target_words between 1 and 20000),
  constraint request_target_ratio_is_sane check (target_ratio > 0 and target_ratio < 1),
  constraint request_style_is_known check (style in ('plain', 'bullets', 'headline')),
  constraint request_language_is_a_tag check (language ~ '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$'),
  constraint request_title_is_short check (char_length(title) <= 300),
  constraint request_idempotency_key_is_short check (char_length(idempotency_key) between 1 and 255),
  constraint request_key_is_unique_to_its_owner unique (owner, idempotency_key)
);
create index request_owner_created_at_idx on private.request (owner, created_at desc);  -- a person's list, newest first
comment on table private.request is 'What was asked. Never changes, but for its title.';

create table private.job (
  id bigint generated always as identity primary key,
  request_id uuid not null references private.request on delete cascade,
  owner uuid not null,
  model_id int not null references private.model,
  kind text not null default 'root',
  state text not null default 'ready',
  priority smallint not null default 0,
  tag bigint not null default 0,
  run_at timestamptz,
  epoch bigint not null default 0,
  attempts smallint not null default 0,
  worker_id int,
  claimed_at timestamptz,
  deadline_at timestamptz,
  progress real not null default 0,
  updated_at timestamptz not null default now(),
  finished_at timestamptz,
  error_code text,
  error_message text,
  constraint job_kind_is_known check (kind in ('root', 'chunk')),
  constraint job_state_is_known check (state in ('ready', 'running', 'waiting', 'done', 'failed', 'cancelled')),
  constraint job_priority_is_small check (priority between -1 and 1),
  constraint job_running_has_a_worker check ((state = 'running') = (worker_id is not null)),
  constraint job_failed_says_why check (state <> 'failed' or error_code is not null),
  constraint job_final_has_an_end check ((state in ('done', 'failed', 'cancelled')) = (finished_at is not null)),
  constraint job_progress_is_a_share check (progress between 0 and 1)
) with (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create unique index job_root_idx on private.job (request_id) where kind = 'root';        -- one root job per request; joins
create index job_request_id_idx on private.job (request_id);                             -- cancel and the cascade of a delete: all jobs, whatever kind
create index job_ready_idx on private.job (model_id, tag, id) where state = 'ready' and run_at is null;  -- the claim, in its order
create index job_own_idx on private.job (owner, model_id, priority, (-tag)) where state = 'ready' and run_at is null;  -- an owner's last tag
create index job_worker_idx on private.job (worker_id) where state = 'running';           -- rescue, lost claims
create index job_deadline_idx on private.job (deadline_at) where state = 'running';       -- hung calls
create index job_due_idx on private.job (run_at) where state = 'ready' and run_at is not null;  -- scheduled, backed off
comment on table private.job is
  'One unit of work with one model call at a time. Narrow and hot: text that does not change stays in private.request.';
comment on column private.job.run_at is 'Not before this; null once it is due. Only a job with null is in the ready index.';
comment on column private.job.epoch is 'Counts the claims. Every write of a worker carries it and changes nothing if it has moved on.';
comment on column private.job.tag is 'Virtual finishing time: the order between owners (start-time fair queueing).';

create table private.result (
  request_id uuid primary key references private.request on delete cascade,
  owner uuid not null,
  epoch bigint not null,
  body text not null,
  checks jsonb not null default '{}',
  engine jsonb not null default '{}',
  created_at timestamptz not null default now()
);
create index result_owner_idx on private.result (owner);  -- row security
comment on table private.result is 'What came out, by the one claim that was accepted.';

create unlogged table private.partial (
  request_id uuid not null,
  epoch bigint not null,
  n int not null,
  owner uuid not null,
  text text not null,
  primary key (request_id, epoch, n)
);
create index partial_owner_idx on private.partial (owner);  -- row security
comment on table private.partial is 'Text so far, piece by piece. A preview: unlogged, gone when the request ends.';

create table private.bell ();
comment on table private.bell is
  'The doorbell. A worker with a free slot and nothing to do holds its SHARE lock; who makes a job ready and finds it taken rings.';

alter table private.request enable row level security;
alter table private.job enable row level security;
alter table private.result enable row level security;
alter table private.partial enable row level security;
alter table private.bell enable row level security;

grant select (id, owner, title, task, text, document_id, url, target_words, target_ratio, style, language, model, created_at)
  on private.request to pgrest_auth;
grant select (request_id, owner, kind, state, priority, run_at, progress, updated_at, finished_at, error_code, error_message, epoch)
  on private.job to pgrest_auth;
grant select (request_id, owner, body, checks, engine) on private.result to pgrest_auth;
grant select on private.partial to pgrest_auth;
create policy web_reads_own on private.request for select to pgrest_auth using (owner = (select gate.uid()));
create policy web_reads_own on private.job for select to pgrest_auth using (owner = (select gate.uid()));
create policy web_reads_own on private.result for select to pgrest_auth using (owner = (select gate.uid()));
create policy web_reads_own on private.partial for select to pgrest_auth using (owner = (select gate.uid()));

create view gate.partial with (security_invoker = true) as
  select p.request_id, p.epoch, p.n, p.text
    from private.partial p
    join private.job j on j.request_id = p.request_id and j.kind = 'root' and j.epoch = p.epoch
     and j.state = 'running';
comment on view gate.partial is
  'Text so far of the running requests of the account that is signed in, piece by piece. For event streams; not exposed.';
grant select on gate.partial to pgrest_auth;

grant select on private.request to listener;
grant select, update on private.job to listener;
grant select, insert on private.result to listener;
grant select, insert, delete on private.partial to listener;
grant select, update on private.bell to listener;
create policy listener on private.request for select to listener using (true);
create policy listener on private.job to listener using (true) with check (true);
create policy listener on private.result to listener using (true) with check (true);
create policy listener on private.partial to listener using (true) with check (true);
create policy listener on private.bell to listener using (true);

grant select, insert, update (title), delete on private.request to precis_definer;
grant select, insert, update on private.job to precis_definer;
grant select on private.result to precis_definer;
grant select, delete on private.partial to precis_definer;
grant select, update on private.bell to precis_definer;
create policy precis_definer on private.request to precis_definer using (true) with check (true);
create policy precis_definer on private.job to precis_definer using (true) with check (true);
create policy precis_definer on private.result for select to precis_definer using (true);
create policy precis_definer on private.partial to precis_definer using (true);
create policy precis_definer on private.bell to precis_definer using (true);

create function gate.request_state(job_state text) returns text language sql immutable set search_path = '' as $$
  select case job_state when 'ready' then 'queued' when 'waiting' then 'running' else job_state end
$$;
comment on function gate.request_state is 'The public state of a request, from the state of its root job.';

create function private.ring() returns void language plpgsql security definer set search_path = '' as $$
begin
  lock table private.bell in row exclusive mode nowait;
exception when lock_not_available then
  perform pg_notify('precis_bell', '');
end $$;
comment on function private.ring is
  'Called by whatever makes a job ready. Rings only if a worker is hungry or about to be: NOTIFY takes a global lock at commit.';

create function private.head_start() returns bigint language sql immutable set search_path = '' as $$ select 8192::bigint $$;
comment on function private.head_start is
  'How far one level of priority reaches ahead among an owner''s rows: eight steps of 1024. The claim''s floor lies this far behind the clock.';

create function private.requeue_tag(model_id int, priority smallint) returns bigint language sql volatile set search_path = '' as $$
  select coalesce(pg_sequence_last_value(m.clock), 0) + m.step / 2 - priority * private.head_start()
    from private.model m where m.id = model_id
$$;
comment on function private.requeue_tag is
  'The tag of a job that becomes ready again. Drawn from the clock, so that no tag is ever written below the claim''s floor.';

create function private.fair_tag(owner uuid, model_id int, priority smallint) returns bigint
  language plpgsql volatile set search_path = '' set enable_seqscan = off set enable_sort = off as $$
declare
  model private.model;
  clock_now bigint;
  last_tag bigint;
begin
  select * into strict model from private.model m where m.id = model_id;
  clock_now := coalesce(pg_sequence_last_value(model.clock), 0);
  select j.tag + j.priority * private.head_start() into last_tag from private.job j
   where j.state = 'ready' and j.run_at is null and j.owner = fair_tag.owner and j.model_id = fair_tag.model_id
     and j.priority = fair_tag.priority and (-j.tag) < -(clock_now - fair_tag.priority * private.head_start())
   order by (-j.tag) limit 1;
  return coalesce(last_tag + model.step, clock_now + model.step / 2) - priority * private.head_start();
end $$;
comment on function private.fair_tag is
  'The tag of a new job: one step behind the owner''s last ready one, or half a step behind the clock. Needs the lock on the owner''s event cursor.';

alter function private.ring() owner to precis_definer;
alter function private.requeue_tag(int, smallint) owner to precis_definer;
alter function private.fair_tag(uuid, int, smallint) owner to precis_definer;
grant execute on function gate.request_state(text) to pgrest_auth;
grant execute on function private.ring(), private.head_start(), private.requeue_tag(int, smallint),
  private.fair_tag(uuid, int, smallint) to listener;
grant execute on function private.head_start() to precis_definer;

create function private.log_request() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform private.append_events('request', array_agg(o.owner), array_agg(o.id), true) from before_rows o;
  else
    perform private.append_events('request', array_agg(n.owner), array_agg(n.id), false) from after_rows n;
  end if;
  return null;
end $$;
comment on function private.log_request is 'A title changed or a request is gone.';

create function private.log_job() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id), false)
       from after_rows n where n.kind = 'root' having count(*) > 0;
  else
    -- What a client cannot see is no event: leases, tags, progress of a stream.
    perform private.append_events('request', array_agg(n.owner), array_agg(n.request_id), false)
       from after_rows n join before_rows o on o.id = n.id
      where n.kind = 'root' and (gate.request_state(n.state), n.priority, n.run_at)
                     is distinct from (gate.request_state(o.state), o.priority, o.run_at)
     having count(*) > 0;
  end if;
  return null;
end $$;
comment on function private.log_job is 'A root job changed in a way that a client can see.';

alter function private.log_request() owner to precis_definer;
alter function private.log_job() owner to precis_definer;
grant execute on function gate.request_state(text) to precis_definer;

create trigger request_update_is_logged after update on private.request
  referencing new table as after_rows for each statement execute function private.log_request();
create trigger request_delete_is_logged after delete on private.request
  referencing old table as before_rows for each statement execute function private.log_request();
create trigger job_insert_is_logged after insert on private.job
  referencing new table as after_rows for each statement execute function private.log_job();
create trigger job_update_is_logged after update on private.job
  referencing old table as before_rows new table as after_rows for each statement execute function private.log_job();

notify pgrst, 'reload schema';

-- migrate:down
drop view gate.partial;
drop table private.bell, private.partial, private.result, private.job, private.request;
drop function private.log_job(), private.log_request(), private.fair_tag(uuid, int, smallint),
  private.requeue_tag(int, smallint), private.head_start(), private.ring(), gate.request_state(text);
notify pgrst, 'reload schema';
