-- Accounts and their sessions, what guards signing in, and the gate that makes PostgREST honour a session's end.
-- Locks: none on existing tables.

-- migrate:up
create table private.account (
  id uuid primary key default gen_random_uuid(),
  email text not null,
  email_key text not null constraint account_email_is_unique unique,
  password_hash text,
  password_changed_at timestamptz,
  email_verified_at timestamptz,
  banned_at timestamptz,
  created_at timestamptz not null default now(),
  constraint account_email_is_short check (char_length(email) <= 320 and char_length(email_key) <= 320)
);
comment on table private.account is 'A person. email is what was typed, email_key its normal form.';
alter table private.account enable row level security;
grant select, insert, update, delete on private.account to authsvc;
grant select (id, banned_at, password_changed_at) on private.account to precis_definer;
create policy authsvc on private.account to authsvc using (true) with check (true);
create policy precis_definer on private.account for select to precis_definer using (true);

create table private.session (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references private.account on delete cascade,
  generation int not null default 0,
  rotated_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  authenticated_at timestamptz not null default now(),
  expires_at timestamptz not null,
  idle_expires_at timestamptz not null,
  revoked_at timestamptz,
  revoke_reason text,
  amr text[] not null default '{pwd}',
  aal smallint not null default 1,
  ip_prefix inet,
  user_agent text,
  constraint session_says_why_it_was_revoked check ((revoked_at is null) = (revoke_reason is null)),
  constraint session_user_agent_is_short check (char_length(user_agent) <= 200)
) with (fillfactor = 70);
-- Lists and evicts the sessions of one account. Nothing that a rotation changes is indexed, so that it stays HOT.
create index session_account_id_idx on private.session (account_id, created_at);
comment on table private.session is 'One sign-in: a refresh token family. generation counts its rotations.';
alter table private.session enable row level security;
grant select, insert, update, delete on private.session to authsvc;
grant select on private.session to precis_definer;
create policy authsvc on private.session to authsvc using (true) with check (true);
create policy precis_definer on private.session for select to precis_definer using (true);

create unlogged table private.rate_bucket (
  key bytea primary key,
  tokens double precision not null,
  refilled_at timestamptz not null default now()
) with (fillfactor = 50);
create index rate_bucket_refilled_at_idx on private.rate_bucket (refilled_at);  -- clean-up of full buckets
comment on table private.rate_bucket is 'Token buckets of the rate limits. Keys are HMACs. Lost in a crash, on purpose.';
alter table private.rate_bucket enable row level security;
grant select, insert, update, delete on private.rate_bucket to authsvc;
create policy authsvc on private.rate_bucket to authsvc using (true) with check (true);

create table private.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  event text not null,
  account_id uuid,
  session_id uuid,
  ip_prefix inet,
  request_id text,
  detail text
);
create index audit_account_id_idx on private.audit (account_id, at);
comment on table private.audit is 'What happened to accounts and sessions. Append only; no secret, no address in clear.';
alter table private.audit enable row level security;
grant select, insert on private.audit to authsvc;
create policy authsvc on private.audit to authsvc using (true) with check (true);

-- functions/private.session_fault.sql
create or replace function private.session_fault(session private.session, banned_at timestamptz, password_changed_at timestamptz)
  returns text language sql volatile
  return case when (session).revoked_at is not null or banned_at is not null
                or password_changed_at > (session).authenticated_at then 'revoked'
              when clock_timestamp() >= least((session).expires_at, (session).idle_expires_at) then 'expired' end;
comment on function private.session_fault(private.session, timestamptz, timestamptz) is
  'Why a session speaks for its account no more, null if it does; the times are the account''s. The one place that knows: refreshing, listing and ending ask it, and so does every request and stream.';
alter function private.session_fault(private.session, timestamptz, timestamptz) owner to precis_definer;
grant execute on function private.session_fault(private.session, timestamptz, timestamptz) to authsvc;

-- functions/gate.token_fault.sql
create or replace function gate.token_fault(claims jsonb) returns text
  language plpgsql stable security definer set search_path = '' as $$
declare
  expected private.token_issuer;
  uuid_pattern constant text := '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$';
begin
  select * into expected from private.token_issuer;
  if not found or claims ->> 'iss' is distinct from expected.issuer then return 'issuer'; end if;
  if claims -> 'aud' is null or not claims -> 'aud' @> to_jsonb(expected.audience) then return 'audience'; end if;
  if jsonb_typeof(claims -> 'exp') is distinct from 'number' then return 'expiry'; end if;
  if (claims ->> 'exp')::numeric <= extract(epoch from clock_timestamp()) - 30 then return 'expired'; end if;
  if coalesce(claims ->> 'sub', '') !~ uuid_pattern then return 'subject'; end if;
  if coalesce(claims ->> 'sid', '') !~ uuid_pattern then return 'session'; end if;
  perform from private.session s join private.account a on a.id = s.account_id
    where s.id = (claims ->> 'sid')::uuid and a.id = (claims ->> 'sub')::uuid
      and private.session_fault(s, a.banned_at, a.password_changed_at) is null;
  if not found then return 'ended'; end if;
  return null;
end $$;
comment on function gate.token_fault(jsonb) is
  'What is wrong with a verified token''s claims, null if nothing: PostgREST itself accepts tokens without exp, aud or sub, any iss, and sessions that ended.';
alter function gate.token_fault(jsonb) owner to precis_definer;

-- functions/gate.check_token.sql
create or replace function gate.check_token() returns void language plpgsql stable security definer set search_path = '' as $$
declare
  claims jsonb := gate.claims();
  fault text;
begin
  if claims ->> 'role' is distinct from 'pgrest_auth' then return; end if;
  fault := gate.token_fault(claims);
  if fault is null then return; end if;
  perform gate.refuse(401,
    case fault when 'expired' then 'token_expired' when 'ended' then 'session_ended' else 'token_invalid' end,
    case fault when 'expired' then 'The access token has expired. Refresh it and try again.'
               when 'ended' then 'This session has ended. Sign in again.'
               else format('The access token has no acceptable %s. Sign in again.', fault) end,
    headers => jsonb_build_object('WWW-Authenticate', 'Bearer error="invalid_token"'));
end $$;
comment on function gate.check_token() is 'Refuses a token that PostgREST lets pass.';
alter function gate.check_token() owner to precis_definer;

-- functions/gate.check_http.sql
create or replace function gate.check_http(method text, path text) returns void language plpgsql stable security definer set search_path = '' as $$
declare
  most_bytes constant int := 8 * 1024 * 1024;
begin
  if gate.claims() ->> 'role' is distinct from 'pgrest_auth' then
    if path = '/models' then return; end if;  -- all that they may read
    if exists (select from pg_catalog.pg_class c where c.relnamespace = 'public'::regnamespace and '/' || c.relname = path
                  and c.relkind = 'v' and not has_table_privilege('pgrest_anon', c.oid, 'select'))
       or exists (select from pg_catalog.pg_proc p where p.pronamespace = 'public'::regnamespace and '/rpc/' || p.proname = path
                     and not has_function_privilege('pgrest_anon', p.oid, 'execute')) then
      perform gate.refuse(401, 'token_missing', 'This needs a signed-in person: send an access token in the header Authorization.',
                          'POST /auth/login answers a token; the header is "Authorization: Bearer" and the token.',
                          '{"WWW-Authenticate": "Bearer"}');
    end if;
  elsif method in ('GET', 'HEAD') then
    -- A change may wait for a lock. Who reads waits for none, and holds one of everybody's few connections.
    perform set_config('statement_timeout', '3s', true);
  end if;
  if method in ('GET', 'HEAD') then return; end if;
  if gate.header('Transfer-Encoding') ilike '%chunked%' then
    perform gate.refuse(411, 'length_required', 'Send the body in one piece, with a Content-Length.');
  elsif gate.header('Content-Length')::numeric > most_bytes then
    perform gate.refuse(413, 'body_too_large', 'The body is larger than 8 MiB. Send the requests in several parts.');
  elsif gate.header('Prefer') ~* 'resolution\s*=' then
    perform gate.refuse(400, 'upsert_not_offered', 'A request cannot be merged into another or passed over for one: leave out resolution= and on_conflict=.',
                        'An Idempotency-Key makes sending the same request twice safe; PATCH changes one that is there.');
  end if;
end $$;
comment on function gate.check_http(text, text) is
  'Refuses what is wrong with an HTTP request as a whole, before a statement is made of it, and lets a read take three seconds.';
alter function gate.check_http(text, text) owner to precis_definer;

-- functions/gate.pre_request.sql
create or replace function gate.pre_request() returns void language plpgsql volatile security definer set search_path = '' as $$
begin
  if coalesce(current_setting('request.method', true), '') = '' then  -- an event stream's read: it has its own way to try again
    perform gate.check_token();
    return;
  end if;
  begin
    -- Whoever is to wait for these waits here, where it can be told; the statement to come finds them taken.
    lock table private.request, private.job, private.result, private.attempt, private.partial, private.event_cursor,
               private.allowance, private.model, private.host_model in access share mode;
    perform gate.check_token();
    perform gate.check_http(current_setting('request.method'), current_setting('request.path'));
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
end $$;
comment on function gate.pre_request() is
  'Runs before every request of PostgREST and every read of an event stream: refuses tokens that PostgREST lets pass, and requests that would cost too much.';
alter function gate.pre_request() owner to precis_definer;
grant execute on function gate.pre_request() to pgrest_anon, pgrest_auth, event_reader;

notify pgrst, 'reload schema';

-- migrate:down
drop function gate.pre_request(), gate.check_http(text, text), gate.check_token(), gate.token_fault(jsonb),
  private.session_fault(private.session, timestamptz, timestamptz);
drop table private.audit, private.rate_bucket, private.session, private.account;
notify pgrst, 'reload schema';
