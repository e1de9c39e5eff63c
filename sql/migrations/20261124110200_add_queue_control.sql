-- What an operator does to the queue: pause and resume it or one model, drain a worker, cancel and retry anybody's request.
-- Locks: ACCESS EXCLUSIVE on private.worker for a policy.

-- migrate:up
create table private.queue (
  only_row boolean primary key default true constraint queue_has_one_row check (only_row),
  paused_at timestamptz
);
insert into private.queue default values;
comment on table private.queue is 'The switch of the whole queue: while paused_at is set, nobody claims.';
alter table private.queue enable row level security;
grant select on private.queue to listener, precis_definer;
create policy listener on private.queue for select to listener using (true);
create policy precis_definer on private.queue to precis_definer using (true) with check (true);
grant update (paused_at) on private.queue, private.model to precis_definer;
grant update (draining) on private.worker to precis_definer;
create policy precis_definer_drains on private.worker for update to precis_definer using (true) with check (true);

create sequence private.rings;
comment on sequence private.rings is 'Counts how often the doorbell was rung: no table, so that inserts need not wait for each other. pg_sequence_last_value is the count, null before the first.';
grant usage on sequence private.rings to precis_definer;
grant select on sequence private.rings to listener;

create or replace function private.ring() returns void language plpgsql security definer set search_path = '' as $$
begin
  lock table private.bell in row exclusive mode nowait;
exception when lock_not_available then
  perform pg_notify('precis_bell', ''), nextval('private.rings');
end $$;

create function private.pause(model_name text default null) returns void language plpgsql security definer set search_path = '' as $$
begin
  if model_name is null then
    update private.queue q set paused_at = coalesce(q.paused_at, now());
  else
    update private.model m set paused_at = coalesce(m.paused_at, now()) where m.name = model_name;
    if not found then perform gate.refuse(404, 'unknown_model', 'No model of that name is known here.'); end if;
  end if;
  perform pg_notify('precis_control', 'models');
end $$;
comment on function private.pause is
  'Nothing more is claimed, of the model or of all; what runs ends, what waits keeps its place. Requests are accepted as before.';

create function private.resume(model_name text default null) returns void language plpgsql security definer set search_path = '' as $$
begin
  if model_name is null then
    update private.queue q set paused_at = null;
  else
    update private.model m set paused_at = null where m.name = model_name;
    if not found then perform gate.refuse(404, 'unknown_model', 'No model of that name is known here.'); end if;
  end if;
  perform pg_notify('precis_control', 'models');
end $$;
comment on function private.resume is 'Ends a pause. A model that was paused by itself stays so when all is resumed.';

create function private.drain(worker_id int, on_or_off boolean default true) returns void language plpgsql security definer set search_path = '' as $$
begin
  update private.worker w set draining = on_or_off where w.id = worker_id;
  if not found then perform gate.refuse(404, 'unknown_worker', 'No worker has this number.'); end if;
  perform pg_notify('precis_control', 'models');
end $$;
comment on function private.drain is 'The worker claims nothing more; what it runs ends. Off lets it claim again, unless it is leaving.';

create function private.take_turn(owner uuid) returns void language sql volatile set search_path = '' as
  $$ select pg_advisory_xact_lock(hashtextextended('precis.take_turn ' || owner, 0)) $$;
comment on function private.take_turn(uuid) is
  'Changes to the rows of one account wait for each other here: two statements over several of them would lock jobs and the event cursor crosswise. Workers do not pass here; they give way and try again.';
create or replace function private.take_turn() returns void language sql volatile set search_path = '' as
  $$ select private.take_turn(gate.uid()) $$;
comment on function private.take_turn() is 'The turn of whoever is signed in.';

create function private.cancel(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  was_running boolean;
begin
  perform private.take_turn(r.owner) from private.request r where r.id = cancel.request_id;
  perform from private.job j where j.request_id = cancel.request_id order by j.id for no key update;
  if not found then perform gate.refuse(404, 'request_not_found', 'There is no request with this id.'); end if;
  select bool_or(j.state = 'running') into was_running from private.job j where j.request_id = cancel.request_id;
  update private.job j set state = 'cancelled', worker_id = null, deadline_at = null, updated_at = now(), finished_at = now()
   where j.request_id = cancel.request_id and j.state in ('ready', 'running', 'waiting');
  if not found then
    perform from private.job j where j.request_id = cancel.request_id and j.kind = 'root' and j.state = 'cancelled';
    if found then return; end if;
    perform gate.refuse(409, 'already_finished', 'This request has ended already.');
  end if;
  delete from private.partial p where p.request_id = cancel.request_id;
  if was_running then perform pg_notify('precis_control', cancel.request_id::text); end if;
end $$;
comment on function private.cancel is 'Ends a queued or running request, whoever''s it is, with all its jobs.';

create function private.retry(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  job private.job;
begin
  perform private.take_turn(r.owner) from private.request r where r.id = retry.request_id;
  select * into job from private.job j where j.request_id = retry.request_id and j.kind = 'root' for no key update;
  if not found then perform gate.refuse(404, 'request_not_found', 'There is no request with this id.'); end if;
  if job.state not in ('failed', 'cancelled') then
    perform gate.refuse(409, 'not_failed', 'Only a failed or cancelled request can be tried again.');
  end if;
  perform from private.event_cursor c where c.owner = job.owner for no key update;  -- as fair_tag needs
  update private.job j set state = 'ready', attempts = 0, run_at = null, progress = 0, error_code = null, error_message = null,
         started_at = null, tag = private.fair_tag(j.owner, j.model_id, j.priority), updated_at = now(), finished_at = null
   where j.id = job.id;
  perform private.ring();
end $$;
comment on function private.retry is 'Queues a failed or cancelled request again, whoever''s it is.';

create function private.check_own(request_id uuid) returns void language plpgsql stable set search_path = '' as $$
begin
  perform from private.request r where r.id = request_id and r.owner = gate.uid();
  if not found then perform gate.refuse(404, 'request_not_found', 'You have no request with this id.'); end if;
end $$;
comment on function private.check_own is 'Refuses somebody else''s request as if it were not there.';

create or replace function gate.cancel(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
begin
  perform private.check_own(request_id);
  perform private.cancel(request_id);
end $$;
create or replace function gate.retry(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
begin
  perform private.check_own(request_id);
  perform private.retry(request_id);
  -- Asked afterwards: the lock on the event cursor comes behind that on the job.
  perform private.refuse_waiting(a.requests_waiting) from private.event_cursor c cross join private.allowance_of(c.owner) a
    where c.owner = gate.uid() and c.waiting > a.requests_waiting;
end $$;

alter function private.pause(text) owner to precis_definer;
alter function private.resume(text) owner to precis_definer;
alter function private.drain(int, boolean) owner to precis_definer;
alter function private.take_turn(uuid) owner to precis_definer;
alter function private.cancel(uuid) owner to precis_definer;
alter function private.retry(uuid) owner to precis_definer;
alter function private.check_own(uuid) owner to precis_definer;

notify pgrst, 'reload schema';

-- migrate:down
create or replace function gate.cancel(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  was_running boolean;
begin
  perform private.take_turn();
  perform from private.job j where j.request_id = cancel.request_id and j.owner = gate.uid() order by j.id for no key update;
  if not found then perform gate.refuse(404, 'request_not_found', 'You have no request with this id.'); end if;
  select bool_or(j.state = 'running') into was_running from private.job j where j.request_id = cancel.request_id;
  update private.job j set state = 'cancelled', worker_id = null, deadline_at = null, updated_at = now(), finished_at = now()
   where j.request_id = cancel.request_id and j.state in ('ready', 'running', 'waiting');
  if not found then
    perform from private.job j where j.request_id = cancel.request_id and j.kind = 'root' and j.state = 'cancelled';
    if found then return; end if;
    perform gate.refuse(409, 'already_finished', 'This request has ended already.');
  end if;
  delete from private.partial p where p.request_id = cancel.request_id;
  if was_running then perform pg_notify('precis_control', cancel.request_id::text); end if;
end $$;
create or replace function gate.retry(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
declare
  job private.job;
begin
  perform private.take_turn();
  select * into job from private.job j where j.request_id = retry.request_id and j.owner = gate.uid() and j.kind = 'root' for no key update;
  if not found then perform gate.refuse(404, 'request_not_found', 'You have no request with this id.'); end if;
  if job.state not in ('failed', 'cancelled') then
    perform gate.refuse(409, 'not_failed', 'Only a failed or cancelled request can be tried again.');
  end if;
  perform from private.event_cursor c where c.owner = job.owner for no key update;  -- as fair_tag needs
  update private.job j set state = 'ready', attempts = 0, run_at = null, progress = 0, error_code = null, error_message = null,
         tag = private.fair_tag(j.owner, j.model_id, j.priority), updated_at = now(), finished_at = null where j.id = job.id;
  perform private.ring();
end $$;
create or replace function private.take_turn() returns void language sql volatile set search_path = '' as
  $$ select pg_advisory_xact_lock(hashtextextended('precis.take_turn ' || gate.uid(), 0)) $$;
comment on function private.take_turn() is
  'Changes to the rows of one account wait for each other here: two statements over several of them would lock jobs and the event cursor crosswise. Workers do not pass here; they give way and try again.';
create or replace function private.ring() returns void language plpgsql security definer set search_path = '' as $$
begin
  lock table private.bell in row exclusive mode nowait;
exception when lock_not_available then
  perform pg_notify('precis_bell', '');
end $$;
drop function private.check_own(uuid), private.retry(uuid), private.cancel(uuid), private.take_turn(uuid), private.drain(int, boolean),
  private.resume(text), private.pause(text);
drop sequence private.rings;
drop policy precis_definer_drains on private.worker;
revoke update (draining) on private.worker from precis_definer;
revoke update (paused_at) on private.model from precis_definer;
drop table private.queue;
notify pgrst, 'reload schema';
