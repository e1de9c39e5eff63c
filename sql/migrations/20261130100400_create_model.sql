-- What can be asked of: models, the hosts that serve them, the workers that call them, and one lockable slot for each call
-- that is allowed. And the switches that stop them.
-- Locks: none on existing tables.

-- migrate:up
create table private.model (
  id int generated always as identity primary key,
  name text not null constraint model_name_is_unique unique,
  clock regclass not null,
  step bigint not null default 1024,
  is_default boolean not null default false,
  paused_at timestamptz,
  created_at timestamptz not null default now(),
  constraint model_step_is_positive check (step > 0)
);
create unique index model_default_idx on private.model (is_default) where is_default;
comment on table private.model is
  'A model that requests can name. clock is its virtual time: a sequence, which no snapshot holds back and no lock slows.';
alter table private.model enable row level security;
grant select on private.model to pgrest_anon, pgrest_auth;
grant select, update (is_default) on private.model to listener;
grant select, insert, update (paused_at) on private.model to precis_definer;
grant usage on sequence private.model_id_seq to precis_definer;
create policy web_reads on private.model for select to pgrest_anon, pgrest_auth using (true);
create policy listener on private.model to listener using (true) with check (true);
create policy precis_definer on private.model to precis_definer using (true) with check (true);

create table private.host (
  id int generated always as identity primary key,
  url text not null constraint host_url_is_unique unique,
  version text,
  seen_at timestamptz not null default now()
);
comment on table private.host is 'A model server.';
alter table private.host enable row level security;
grant select, insert, update, delete on private.host to listener;
create policy listener on private.host to listener using (true) with check (true);

create table private.host_model (
  host_id int not null references private.host on delete cascade,
  model_id int not null references private.model on delete cascade,
  digest text not null,
  family text not null default '',
  context_tokens int not null,
  capabilities text[] not null default '{}',
  available boolean not null default true,
  seen_at timestamptz not null default now(),
  primary key (host_id, model_id)
);
create index host_model_model_id_idx on private.host_model (model_id);
comment on table private.host_model is 'Which host serves which model, as it answered a listener.';
alter table private.host_model enable row level security;
grant select on private.host_model to pgrest_anon, pgrest_auth, precis_definer;
grant select, insert, update, delete on private.host_model to listener;
create policy web_reads on private.host_model for select to pgrest_anon, pgrest_auth using (true);
create policy listener on private.host_model to listener using (true) with check (true);
create policy precis_definer on private.host_model for select to precis_definer using (true);

create table private.worker (
  id int generated always as identity primary key,
  incarnation bigint not null default 1,
  name text not null,
  version text not null,
  lease_until timestamptz not null,
  started_at timestamptz not null default now(),
  draining boolean not null default false,
  models int[] not null default '{}',
  renewals bigint not null default 0
) with (fillfactor = 50);
comment on table private.worker is
  'One running listener and its lease. A rescue counts incarnation up: what the old incarnation still writes changes nothing.';
comment on column private.worker.renewals is
  'Counts its heartbeats. Others judge it by seeing the same number for too long by their own clocks: the server''s may jump.';
comment on column private.worker.lease_until is 'For people to read; nobody is judged by it. -infinity: fenced, it claims nothing more.';
comment on column private.worker.models is 'What it can reach now: workers share the slots of a model among those that serve it.';
alter table private.worker enable row level security;
grant select, insert, update, delete on private.worker to listener;
grant select (id, name), update (draining) on private.worker to precis_definer;
create policy listener on private.worker to listener using (true) with check (true);
create policy precis_definer on private.worker for select to precis_definer using (true);
create policy precis_definer_drains on private.worker for update to precis_definer using (true) with check (true);

create table private.slot (
  host_id int not null references private.host on delete cascade,
  model_id int not null references private.model on delete cascade,
  n int not null,
  worker_id int,
  incarnation bigint,
  primary key (host_id, model_id, n)
);
create index slot_worker_id_idx on private.slot (worker_id, model_id);
comment on table private.slot is 'One allowed parallel call of a model on a host. Leased to a worker, not to a job.';
alter table private.slot enable row level security;
grant select, insert, update, delete on private.slot to listener;
create policy listener on private.slot to listener using (true) with check (true);

create table private.queue (
  only_row boolean primary key default true constraint queue_has_one_row check (only_row),
  paused_at timestamptz,
  generation bigint not null default 0
);
insert into private.queue default values;
comment on table private.queue is 'The switch of the whole queue: while paused_at is set, nobody claims.';
comment on column private.queue.generation is 'Which incarnation of the server this is, by private.begin_incarnation().';
alter table private.queue enable row level security;
grant select on private.queue to listener, precis_definer;
grant update (paused_at, generation) on private.queue to precis_definer;
create policy listener on private.queue for select to listener using (true);
create policy precis_definer on private.queue to precis_definer using (true) with check (true);

create unlogged table private.event_incarnation (
  only_row boolean primary key default true constraint event_incarnation_has_one_row check (only_row),
  nonce uuid not null default gen_random_uuid(),
  epoch_floor bigint not null default 0
);
insert into private.event_incarnation default values;
comment on table private.event_incarnation is
  'Emptied by Postgres itself after a crash and on a standby that takes over, which may have lost commits that did not wait for the disk; whoever finds no row begins a new one. The ids of events begin with what depends on the nonce.';
comment on column private.event_incarnation.epoch_floor is
  'No claim draws a lower epoch, and without the row there is none: what a crash has lost is never drawn again.';
alter table private.event_incarnation enable row level security;
-- Nobody at run time can choose, change or remove it.
grant select on private.event_incarnation to listener_events;
grant select (only_row, epoch_floor) on private.event_incarnation to listener;
grant select, insert (epoch_floor) on private.event_incarnation to precis_definer;
create policy listener_events on private.event_incarnation for select to listener_events using (true);
create policy listener on private.event_incarnation for select to listener using (true);
create policy precis_definer on private.event_incarnation to precis_definer using (true) with check (true);

-- functions/private.begin_incarnation.sql
create or replace function private.begin_incarnation() returns boolean language plpgsql security definer set search_path = '' as $$
declare
  begun bigint;
begin
  -- The row of private.queue is what waits for the disk, and what others wait for. Random: a standby that takes over may not
  -- have heard of the last step.
  update private.queue q set generation = q.generation + 1 + floor(1000 * random())::int
   where not exists (select from private.event_incarnation) returning q.generation into begun;
  insert into private.event_incarnation (epoch_floor) select begun * 1000000 where begun is not null on conflict do nothing;
  return found;
end $$;
comment on function private.begin_incarnation() is
  'Begins a new incarnation where Postgres has thrown the last one away; whether it was this call. No event id and no claim is drawn twice across it.';
alter function private.begin_incarnation() owner to precis_definer;
grant execute on function private.begin_incarnation() to listener, listener_events;

-- functions/private.add_model.sql
create or replace function private.add_model(model_name text) returns int
  language plpgsql security definer set search_path = '' as $$
declare
  model_id int;
  clock text;
begin
  perform pg_advisory_xact_lock(hashtext('precis.add_model'));
  select m.id into model_id from private.model m where m.name = model_name;
  if found then return model_id; end if;
  model_id := nextval(pg_get_serial_sequence('private.model', 'id'));
  clock := format('private.%I', 'model_clock_' || model_id);
  execute format('create sequence %s minvalue 0 start 0', clock);
  execute format('grant select, usage, update on sequence %s to listener', clock);
  insert into private.model (id, name, clock) overriding system value values (model_id, model_name, clock::regclass);
  return model_id;
end $$;
comment on function private.add_model(text) is 'The id of the model called so; makes it, with its clock, if it is new.';
alter function private.add_model(text) owner to precis_definer;
grant execute on function private.add_model(text) to listener;

-- functions/private.resolve_model.sql
create or replace function private.resolve_model(asked text) returns private.model language plpgsql stable set search_path = '' as $$
declare
  model private.model;
begin
  if asked is null then
    select * into model from private.model m where m.is_default;
    if not found then
      -- Not 503: PostgREST takes that for a lost database, reconnects, and adds a Retry-After of its own.
      perform gate.refuse(409, 'no_model', 'No worker has announced a model yet. Try again in a moment.',
                          headers => '{"Retry-After": "5"}');
    end if;
    return model;
  end if;
  select * into model from private.model m where m.name in (asked, asked || ':latest') order by m.name = asked desc limit 1;
  if not found then
    perform gate.refuse(422, 'unknown_model', 'No model of that name is served here.', 'GET /models lists them.');
  end if;
  return model;
end $$;
comment on function private.resolve_model(text) is 'The model that a request names, or the default.';
alter function private.resolve_model(text) owner to precis_definer;

-- functions/private.pause.sql
create or replace function private.pause(model_name text default null) returns void language plpgsql security definer set search_path = '' as $$
begin
  if model_name is null then
    update private.queue q set paused_at = coalesce(q.paused_at, now());
  else
    update private.model m set paused_at = coalesce(m.paused_at, now()) where m.name = model_name;
    if not found then perform gate.refuse(404, 'unknown_model', 'No model of that name is known here.'); end if;
  end if;
  perform private.tell('precis_control', 'models');
end $$;
comment on function private.pause(text) is
  'Nothing more is claimed, of the model or of all; what runs ends, what waits keeps its place. Requests are accepted as before.';
alter function private.pause(text) owner to precis_definer;

-- functions/private.resume.sql
create or replace function private.resume(model_name text default null) returns void language plpgsql security definer set search_path = '' as $$
begin
  if model_name is null then
    update private.queue q set paused_at = null;
  else
    update private.model m set paused_at = null where m.name = model_name;
    if not found then perform gate.refuse(404, 'unknown_model', 'No model of that name is known here.'); end if;
  end if;
  perform private.tell('precis_control', 'models');
end $$;
comment on function private.resume(text) is 'Ends a pause. A model that was paused by itself stays so when all is resumed.';
alter function private.resume(text) owner to precis_definer;

-- functions/private.drain.sql
create or replace function private.drain(worker_id int, on_or_off boolean default true) returns void language plpgsql security definer set search_path = '' as $$
begin
  update private.worker w set draining = on_or_off where w.id = worker_id;
  if not found then perform gate.refuse(404, 'unknown_worker', 'No worker has this number.'); end if;
  perform private.tell('precis_control', 'models');
end $$;
comment on function private.drain(int, boolean) is
  'The worker claims nothing more; what it runs ends. Off lets it claim again, unless it is leaving.';
alter function private.drain(int, boolean) owner to precis_definer;

create view public.models with (security_invoker = true) as
  select m.name, m.is_default,
         case when bool_or(h.family = 'extractive') then 'extractive' else 'ollama' end as engine,
         max(h.context_tokens) as context_tokens,
         array(select distinct c from private.host_model x, unnest(x.capabilities) c where x.model_id = m.id order by c) as capabilities,
         coalesce(bool_or(h.available), false) and m.paused_at is null as available
    from private.model m left join private.host_model h on h.model_id = m.id
   where gate.is_fair()
   group by m.id, m.name, m.is_default, m.paused_at;
comment on view public.models is 'The models that a request can name. Everybody may read them.';
comment on column public.models.name is 'What to put into requests.model.';
comment on column public.models.is_default is 'Whether it is taken where a request names no model.';
comment on column public.models.engine is 'ollama: a language model writes the text. extractive: sentences are copied from the source.';
comment on column public.models.context_tokens is 'The longest input and output together, in tokens.';
comment on column public.models.capabilities is 'What the model server says the model can do.';
comment on column public.models.available is 'Whether a model server answers for it now. Requests for one that is not wait.';
grant select on public.models to pgrest_anon, pgrest_auth;
create trigger models_are_read_only instead of insert or update or delete on public.models
  for each row execute function private.refuse_write();

notify pgrst, 'reload schema';

-- migrate:down
drop view public.models;
drop function private.drain(int, boolean), private.resume(text), private.pause(text), private.resolve_model(text), private.add_model(text),
  private.begin_incarnation();
do $$
declare
  clock regclass;
begin
  for clock in select m.clock from private.model m loop
    execute format('drop sequence %s', clock);
  end loop;
end $$;
drop table private.event_incarnation, private.queue, private.slot, private.worker, private.host_model, private.host, private.model;
notify pgrst, 'reload schema';
