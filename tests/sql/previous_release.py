"""What the release before this one says to the database: its statements word for word, of commit 0de2623.

It serves while the migrations of this release run, and for a while beside it. When the next release begins,
this file is to be replaced by the statements of the one that is out then.
"""

from typing import LiteralString

# $1 worker, $2 incarnation, $3 models, $4 free slots and $5 floor of each, $6 seconds until the deadline.
CLAIM: LiteralString = """
with me as materialized (
  select w.id, w.incarnation from private.worker w
   where w.id = $1 and w.incarnation = $2 and w.lease_until > clock_timestamp() and not w.draining
     for key share),
want as materialized (
  select m.id as model_id, m.clock, w.floor,
         (select count(*) from (select from private.slot s
           where s.worker_id = me.id and s.incarnation = me.incarnation and s.model_id = m.id
           limit w.free) x) as free
    from me cross join unnest($3::int[], $4::int[], $5::bigint[]) w(model_id, free, floor)
    join private.model m on m.id = w.model_id and m.paused_at is null),
pick as materialized (
  select p.id, p.ready_at from want w cross join lateral (
    select j.id, j.updated_at as ready_at from private.job j
     where j.state = 'ready' and j.run_at is null and j.model_id = w.model_id and j.tag >= w.floor
     order by j.tag, j.id limit w.free for no key update of j skip locked) p),
took as (
  update private.job j
     set state = 'running', epoch = j.epoch + 1, attempts = j.attempts + 1, worker_id = $1, progress = 0,
         claimed_at = clock_timestamp(), updated_at = clock_timestamp(),
         deadline_at = clock_timestamp() + make_interval(secs => $6)
   where j.id = any (array(select id from pick))
  returning j.id, j.epoch, j.attempts, j.model_id, j.request_id,
            j.tag + j.priority * private.head_start() as reached),
clock as materialized (
  select setval(w.clock, t.reached)
    from (select model_id, max(reached) as reached from took group by model_id) t
    join want w on w.model_id = t.model_id where t.reached > coalesce(pg_sequence_last_value(w.clock), 0))
select t.id as job_id, t.epoch, t.attempts, t.model_id, t.reached,
       extract(epoch from clock_timestamp() - p.ready_at)::float8 as waited_seconds, r.*,
       (select count(*) from clock) as clocks_moved  -- asked for, or they would not move
  from took t join pick p on p.id = t.id
 cross join lateral (
   select r.id as request_id, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style,
          r.language
     from private.request r where r.id = t.request_id limit 1) r
"""

CLAIM_AROUND: LiteralString = CLAIM.replace(
    "from private.job j\n     where j.state = 'ready'",
    "from private.job j\n     cross join lateral (select from private.event_cursor c where c.owner = j.owner"
    " for no key update skip locked) c\n     where j.state = 'ready'",
)

# $1 jobs, $2 epochs, $3 bodies, $4 checks, $5 engines.
FINISH: LiteralString = """
with own as materialized (
  select f.job_id, f.epoch, f.body, f.checks, f.engine, x.request_id, x.owner
    from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])
           f(job_id, epoch, body, checks, engine)
   cross join lateral (select j.request_id, j.owner from private.job j
                        where j.id = f.job_id and j.epoch = f.epoch and j.worker_id is not null
                          for no key update) x),
done as (
  update private.job j
     set state = 'done', worker_id = null, deadline_at = null, progress = 1,
         updated_at = clock_timestamp(), finished_at = clock_timestamp()
   where j.id = any (array(select job_id from own)) returning j.id),
stored as (
  insert into private.result (request_id, owner, epoch, body, checks, engine)
  select request_id, owner, epoch, body, checks::jsonb, engine::jsonb from own returning request_id),
cleared as (
  delete from private.partial p where p.request_id = any (array(select request_id from own)))
select f.job_id from unnest($1::bigint[], $2::bigint[]) f(job_id, epoch)
 where f.job_id in (select id from done)
    or exists (select from private.job j
                 join private.result r on r.request_id = j.request_id and r.epoch = f.epoch
                where j.id = f.job_id and j.state = 'done')
"""

# $1 job, $2 epoch, $3 code, $4 message.
FAIL: LiteralString = """
with own as materialized (
  select j.id, j.request_id from private.job j
   where j.id = $1 and j.epoch = $2 and j.worker_id is not null for no key update),
cleared as (
  delete from private.partial p where p.request_id = any (array(select request_id from own)))
update private.job j
   set state = 'failed', worker_id = null, deadline_at = null, error_code = $3, error_message = $4,
       updated_at = clock_timestamp(), finished_at = clock_timestamp()
 where j.id = any (array(select id from own)) returning j.id
"""

# $1 job, $2 epoch, $3 seconds to wait, $4 attempts not to be counted.
BACK_OFF: LiteralString = """
with own as materialized (
  select j.id from private.job j
   where j.id = $1 and j.epoch = $2 and j.worker_id is not null for no key update)
update private.job j
   set state = 'ready', worker_id = null, deadline_at = null, progress = 0,
       attempts = greatest(j.attempts - $4, 0),
       run_at = clock_timestamp() + make_interval(secs => $3), updated_at = clock_timestamp()
 where j.id = any (array(select id from own)) returning j.id
"""

# $1 jobs, $2 epochs.
RELEASE: LiteralString = """
with own as materialized (
  select f.job_id, x.clock_now from unnest($1::bigint[], $2::bigint[]) f(job_id, epoch)
   cross join lateral (select coalesce(pg_sequence_last_value(m.clock), 0) as clock_now
                         from private.job j join private.model m on m.id = j.model_id
                        where j.id = f.job_id and j.epoch = f.epoch and j.worker_id is not null
                          for no key update of j) x),
back as (
  update private.job j
     set state = 'ready', worker_id = null, deadline_at = null, progress = 0,
         attempts = greatest(j.attempts - 1, 0),
         tag = o.clock_now - j.priority * private.head_start(), updated_at = clock_timestamp()
    from own o where j.id = o.job_id returning j.id)
select b.id as job_id, (select private.ring() from back limit 1) from back b
"""

# $1 jobs, $2 epochs, $3 numbers, $4 texts, $5 jobs, $6 epochs, $7 progress of these.
WRITE_PARTIALS: LiteralString = """
with soft as materialized (select set_config('synchronous_commit', 'off', true) as setting),
own as materialized (
  select x.request_id, x.owner, p.epoch, p.n, p.text
    from soft cross join unnest($1::bigint[], $2::bigint[], $3::int[], $4::text[]) p(job_id, epoch, n, text)
   cross join lateral (select j.request_id, j.owner from private.job j
                        where j.id = p.job_id and j.epoch = p.epoch and j.worker_id is not null limit 1) x),
written as (
  insert into private.partial (request_id, epoch, n, owner, text)
  select request_id, epoch, n, owner, text from own on conflict do nothing returning request_id),
moved as (
  update private.job j set progress = p.progress
    from unnest($5::bigint[], $6::bigint[], $7::real[]) p(job_id, epoch, progress)
   where j.id = p.job_id and j.epoch = p.epoch and j.worker_id is not null returning j.id),
heard as materialized (
  select o.owner || ':' || o.request_id || ':' || o.epoch || ':' || max(o.n) as line,
         row_number() over () / 50 as part
    from own o join private.event_cursor c on c.owner = o.owner and c.watched_until > clock_timestamp()
   group by o.owner, o.request_id, o.epoch)
select (select count(*) from written) as pieces,
       (select count(pg_notify('precis_partial', t.lines))
          from (select string_agg(h.line, ',') as lines from heard h group by h.part) t) as notices
"""

# $1 the sweepers' lock, $2 batch, $3 max attempts, $4 a lease's seconds, $5 silence, $6 class of locks,
# $7 what is told.
RESCUE: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
gone as materialized (
  select w.id from private.worker w, turn
   where turn.mine and clock_timestamp() > pg_postmaster_start_time() + make_interval(secs => $4)
     and case when w.lease_until < clock_timestamp() then true
              when w.lease_until < clock_timestamp() + make_interval(secs => $4 - $5)
                then pg_try_advisory_xact_lock($6, w.id)
              else false end
   order by w.id limit 10 for update of w skip locked),
lost as materialized (
  select x.id, x.over from gone g cross join lateral (
    select j.id, j.attempts >= $3 as over from private.job j where j.worker_id = g.id and j.state = 'running'
     order by j.id limit $2 for no key update skip locked) x),
back as (
  update private.job j
     set state = case when l.over then 'failed' else 'ready' end, worker_id = null, deadline_at = null,
         progress = 0, tag = private.requeue_tag(j.model_id, j.priority), updated_at = clock_timestamp(),
         run_at = case when not l.over and j.attempts > 1
                       then clock_timestamp() + random() * least(60, 2 ^ j.attempts) * interval '1 s' end,
         finished_at = case when l.over then clock_timestamp() end,
         error_code = case when l.over then 'worker_lost' end,
         error_message = case when l.over then $7 end
    from lost l where j.id = l.id returning j.id, j.state, j.run_at),
left_over as materialized (
  select j.worker_id from gone g cross join lateral (
    select j.worker_id, j.id from private.job j where j.worker_id = g.id and j.state = 'running') j
   where j.id not in (select id from lost)),
buried as (
  delete from private.worker w using gone g
   where w.id = g.id and w.id not in (select worker_id from left_over) returning w.id)
select (select count(*) from back where state = 'ready')::int as requeued,
       (select count(*) from back where state = 'failed')::int as failed,
       array(select id from buried) as workers,
       (select private.ring() from back where state = 'ready' and run_at is null limit 1),
       (select pg_notify('precis_control', 'models') from buried limit 1)
"""

# $1 the sweepers' lock, $2 batch, $3 max attempts, $4 what is told.
REQUEUE_OVERDUE: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
hung as materialized (
  select j.id, j.request_id, j.attempts >= $3 as over from private.job j, turn
   where turn.mine and j.state = 'running' and j.deadline_at < clock_timestamp()
   order by j.deadline_at limit $2 for no key update of j skip locked),
back as (
  update private.job j
     set state = case when h.over then 'failed' else 'ready' end, worker_id = null, deadline_at = null,
         progress = 0, tag = private.requeue_tag(j.model_id, j.priority), updated_at = clock_timestamp(),
         finished_at = case when h.over then clock_timestamp() end,
         error_code = case when h.over then 'deadline_exceeded' end,
         error_message = case when h.over then $4 end
    from hung h where j.id = h.id returning j.id, j.state)
select (select count(*) from back where state = 'ready')::int as requeued,
       (select count(*) from back where state = 'failed')::int as failed,
       (select private.ring() from back where state = 'ready' limit 1),
       (select count(pg_notify('precis_control', h.request_id::text)) from hung h)
"""

# $1 the sweepers' lock, $2 batch.
READY_DUE: LiteralString = """
with turn as materialized (select pg_try_advisory_xact_lock($1) as mine),
due as materialized (
  select j.id from private.job j, turn
   where turn.mine and j.state = 'ready' and j.run_at is not null and j.run_at <= clock_timestamp()
   order by j.run_at limit $2 for no key update of j skip locked),
moved as (
  update private.job j
     set run_at = null, tag = private.fair_tag(j.owner, j.model_id, j.priority),
         updated_at = clock_timestamp()
   where j.id = any (array(select id from due)) returning j.id)
select count(*)::int, (select private.ring() from moved limit 1) from moved
"""

# No parameter.
PRUNE_PARTIALS: LiteralString = """
delete from private.partial p
 where not exists (select from private.job j
                    where j.request_id = p.request_id and j.epoch = p.epoch and j.state = 'running')
"""

# $1 name, $2 version, $3 seconds of lease.
REGISTER: LiteralString = """
insert into private.worker (name, version, lease_until)
values ($1, $2, clock_timestamp() + make_interval(secs => $3)) returning id, incarnation
"""

# $1 worker, $2 incarnation, $3 seconds of lease, $4 leaving, $5 models, $6 jobs, $7 epochs, $8 silence.
RENEW: LiteralString = """
with me as materialized (
  update private.worker w
     set lease_until = clock_timestamp() + make_interval(secs => $3), draining = w.draining or $4, models = $5
   where w.id = $1 and w.incarnation = $2 returning w.draining)
select (select count(*) from me) > 0 as alive, (select me.draining from me) as draining,
       array(select array[r.job_id, r.epoch] from unnest($6::bigint[], $7::bigint[]) r(job_id, epoch)
              where not exists (select from private.job j
                                 where j.id = r.job_id and j.epoch = r.epoch and j.worker_id = $1)
            ) as lost,
       array(select array[j.id, j.epoch] from private.job j
              where j.worker_id = $1 and j.state = 'running' and j.id <> all ($6)) as strays,
       exists (select from private.worker w
                where w.id <> $1
                  and w.lease_until < clock_timestamp() + make_interval(secs => $3 - $8)) as silence,
       exists (select from private.job j
                where j.state = 'running' and j.deadline_at < clock_timestamp()) as overdue,
       (select extract(epoch from min(j.run_at) - clock_timestamp())::float8 from private.job j
         where j.state = 'ready' and j.run_at is not null) as due_seconds,
       array(select array[m.id, coalesce(pg_sequence_last_value(m.clock), 0),
                          (select count(*) from private.slot s where s.model_id = m.id),
                          (select count(*) from private.slot s where s.model_id = m.id
                             and not exists (select from private.worker w
                                              where w.id = s.worker_id and w.incarnation = s.incarnation)),
                          (select count(*) from private.worker w
                            where w.lease_until > clock_timestamp() and not w.draining
                              and m.id = any (w.models))]
               from private.model m where m.id = any ($5)) as models
"""

# $1 worker.
UNREGISTER: LiteralString = """
with freed as (
  update private.slot s set worker_id = null, incarnation = null where s.worker_id = $1 returning s.n),
gone as (
  delete from private.worker w
   where w.id = $1 and not exists (select from private.job j where j.worker_id = $1 and j.state = 'running')
  returning w.id)
select (select count(*) from gone), (select pg_notify('precis_control', 'models') from freed limit 1)
"""

# $1 worker, $2 incarnation, $3 model, $4 hosts, $5 how many.
LEASE_SLOTS: LiteralString = """
with me as materialized (
  select w.id from private.worker w
   where w.id = $1 and w.incarnation = $2 and w.lease_until > clock_timestamp() and not w.draining
     for key share),
free as materialized (
  select s.host_id, s.model_id, s.n, s.worker_id, s.incarnation from private.slot s
   where exists (select from me) and s.model_id = $3 and s.host_id = any ($4)
     and not exists (select from private.worker w where w.id = s.worker_id and w.incarnation = s.incarnation)
   order by s.n, s.host_id limit $5 for no key update of s skip locked),
unchanged as materialized (
  select f.host_id, f.model_id, f.n from free f
    join private.slot s on (s.host_id, s.model_id, s.n) = (f.host_id, f.model_id, f.n)
   where s.worker_id is not distinct from f.worker_id and s.incarnation is not distinct from f.incarnation)
update private.slot s set worker_id = $1, incarnation = $2 from unchanged u
 where (s.host_id, s.model_id, s.n) = (u.host_id, u.model_id, u.n) returning s.host_id, s.model_id, s.n
"""

# $1 worker, $2 incarnation, $3 hosts, $4 models, $5 numbers.
GIVE_BACK_SLOTS: LiteralString = """
with given as (
  update private.slot s set worker_id = null, incarnation = null
    from unnest($3::int[], $4::int[], $5::int[]) g(host_id, model_id, n)
   where (s.host_id, s.model_id, s.n) = (g.host_id, g.model_id, g.n)
     and s.worker_id = $1 and s.incarnation = $2
  returning s.n)
select count(pg_notify('precis_control', 'models')) from (select from given limit 1) g
"""

# What an event stream reads. $1 role, $2 claims.
BECOME_USER: LiteralString = "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)"
READ_HEAD: LiteralString = """
select n, min_n, substr(encode(sha256(convert_to(concat_ws('.',
    (select system_identifier from pg_control_system()),
    left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (select oid from pg_database where datname = current_database())), 'UTF8')), 'hex'), 1, 12)
   as incarnation, gate.pre_request() as passed from gate.event_cursor
"""
