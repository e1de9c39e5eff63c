\restrict dbmate

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: dbmate; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA dbmate;


--
-- Name: gate; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA gate;


--
-- Name: SCHEMA gate; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA gate IS 'Called on behalf of clients, never exposed: the pre-request, claims, the readers of event streams.';


--
-- Name: private; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA private;


--
-- Name: SCHEMA private; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA private IS 'Every table of Precis. Off limits to web roles.';


--
-- Name: SCHEMA public; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA public IS 'Precis: summarise and shorten text. Insert a row into requests, watch it change.';


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: allowance; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.allowance (
    owner uuid,
    requests_per_day integer,
    bytes_per_day bigint,
    requests_waiting integer,
    changes_per_minute integer,
    weight real DEFAULT 1 NOT NULL,
    CONSTRAINT allowance_is_not_negative CHECK ((LEAST((requests_per_day)::bigint, bytes_per_day, (requests_waiting)::bigint, (changes_per_minute)::bigint) >= 0)),
    CONSTRAINT allowance_weight_is_sane CHECK (((weight >= (0.01)::real) AND (weight <= (100)::real)))
);


--
-- Name: TABLE allowance; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.allowance IS 'Quotas and weight of an account; a null quota is no limit. The row without an owner holds for every account that has none of its own. An operator''s to change.';


--
-- Name: COLUMN allowance.changes_per_minute; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.allowance.changes_per_minute IS 'How many requests may be changed, cancelled, tried again or deleted in a minute, all at once or one by one; a call of clear is one.';


--
-- Name: COLUMN allowance.weight; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.allowance.weight IS 'The account''s share of a model against others who wait for it: twice the weight, twice the share.';


--
-- Name: allowance(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.allowance() RETURNS private.allowance
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$ select private.allowance_of(gate.uid()) $$;


--
-- Name: FUNCTION allowance(); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.allowance() IS 'What the account that is signed in may have. A function, since the row for everybody is nobody''s own.';


--
-- Name: cancel(uuid); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.cancel(request_id uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  perform gate.check_statement();
  perform private.check_own(request_id);
  begin
    perform private.cancel(request_id);
    perform private.charge_changes(private.lock_cursor(gate.uid()), 1);
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
end $$;


--
-- Name: FUNCTION cancel(request_id uuid); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.cancel(request_id uuid) IS 'Ends a queued or running request of the caller, with all its jobs.';


--
-- Name: check_http(text, text); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.check_http(method text, path text) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION check_http(method text, path text); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.check_http(method text, path text) IS 'Refuses what is wrong with an HTTP request as a whole, before a statement is made of it, and lets a read take three seconds.';


--
-- Name: check_statement(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.check_statement() RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  asked text := current_query();
begin
  if coalesce(current_setting('request.method', true), '') = '' then return; end if;  -- nobody at PostgREST
  if length(asked) - length(replace(asked, '"', '')) > 800 then
    perform gate.refuse(400, 'question_too_large', 'This names too many columns and conditions. Ask for at most 90 at once.',
                        'A list of values needs one condition: id=in.(...).');
  end if;
  if strpos(asked, '~') + strpos(asked, 'EXPLAIN') + strpos(asked, 'CAST') + strpos(asked, 'pgrst_source_count') = 0 then return; end if;
  -- What PostgREST made of the question, without the names and words in it, which are the client's.
  asked := regexp_replace(asked, '"[^"]*"|''[^'']*''', '', 'g');
  if strpos(asked, '~') > 0 then  -- before the planner compiles the pattern to guess how many rows it fits
    perform gate.refuse(400, 'pattern_not_offered', 'Regular expressions are not offered here. Use like or ilike, with * for anything.');
  end if;
  if asked ~ '^\s*EXPLAIN' or asked ~ 'pgrst_source_count AS \(SELECT 1 FROM .* LIMIT \d' then
    perform gate.refuse(400, 'count_not_offered',
      'count=planned and count=estimated are guesses from everybody''s rows. Ask for count=exact.');
  end if;
  if regexp_count(asked, '\mCAST\s*\(') > regexp_count(asked, '\mCAST\s*\([^()]* AS (text|varchar|character varying)\s*\)') then
    perform gate.refuse(400, 'cast_not_offered', 'A column can be cast to text and to nothing else.');
  end if;
end $$;


--
-- Name: FUNCTION check_statement(); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.check_statement() IS 'Refuses what a client may not ask PostgREST for: estimates that tell of others'' rows, casts that make much of little (a numeric of eight bytes is 131,072 digits), columns without number.';


--
-- Name: check_token(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.check_token() RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION check_token(); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.check_token() IS 'Refuses a token that PostgREST lets pass.';


--
-- Name: claims(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.claims() RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;


--
-- Name: FUNCTION claims(); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.claims() IS 'The claims of the verified token, null without one.';


--
-- Name: clear(text); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.clear(state text) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  of_jobs constant text[] := case state when 'queued' then '{ready}' when 'running' then '{running,waiting}'
                               when 'done' then '{done}' when 'failed' then '{failed}' when 'cancelled' then '{cancelled}' end;
  requests uuid[];
  cleared int := 0;
  until timestamptz;
begin
  perform gate.check_statement();
  if of_jobs is null then
    perform gate.refuse(422, 'unknown_state', 'Say which requests: the state must be queued, running, done, failed or cancelled.');
  end if;
  requests := array(select r.id from private.request r join private.job j on j.id = r.job_id
                     where r.owner = gate.uid() and j.state = any (of_jobs) order by r.created_at desc limit 10000);
  begin
    perform private.charge_changes(private.lock_cursor(gate.uid()), 1);
    until := clock_timestamp() + interval '40 ms';
    for i in 0 .. (cardinality(requests) - 1) / 50 loop
      cleared := cleared + private.clear_own(requests[i * 50 + 1 : i * 50 + 50], of_jobs);
      exit when clock_timestamp() > until;
    end loop;
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
  return json_build_object('cleared', cleared, 'left', cardinality(requests) - cleared);
end $$;


--
-- Name: FUNCTION clear(state text); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.clear(state text) IS 'As many of the caller''s requests in a state as 40 ms are enough for, so that what waits for their locks need not wait long; how many, and how many are left, of 10,000 at most.';


--
-- Name: header(text); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.header(name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$ select nullif(current_setting('request.headers', true), '')::json ->> lower(name) $$;


--
-- Name: FUNCTION header(name text); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.header(name text) IS 'A header of the HTTP request, null if it was not sent.';


--
-- Name: is_affordable(integer, text); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.is_affordable(bytes integer, name text) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER COST 1000
    SET search_path TO ''
    AS $$
declare
  most constant int := 6500000;
  column_name constant text := format('."%s"', name);
  asked text := current_query();
  times int := 1;
  sum bigint;
begin
  -- A view is asked anew for each naming of its column. A row that a change or a function answers with is made once, and
  -- named as often as the statement does so from there on; or never, where no row is to be answered.
  if current_setting('request.method', true) not in ('GET', 'HEAD') then
    if current_setting('request.path', true) not like '/rpc/%' then asked := substr(asked, strpos(asked, 'RETURNING ')); end if;
    asked := replace(asked, '.*', column_name);
    times := (length(asked) - length(replace(asked, column_name, ''))) / length(column_name);
    if times = 0 then return true; end if;
    times := greatest(times - 1, 1);
  end if;
  sum := coalesce(nullif(current_setting('precis.answer_bytes', true), ''), '0')::bigint + bytes::bigint * times;
  if sum > most then
    perform gate.refuse(400, 'answer_too_large',
      'The texts that this reads come to more than 6.5 MB. Leave out text and result with select=, or ask for fewer rows with limit=.');
  end if;
  -- A search in a long text is work that no row interrupts.
  if sum > 262144 and strpos(current_query(), ' WHERE ') > 0 and strpos(substr(current_query(), strpos(current_query(), ' WHERE ')), column_name) > 0 then
    perform gate.is_let_work(null);
  end if;
  perform set_config('precis.answer_bytes', sum::text, true);
  return true;
end $$;


--
-- Name: FUNCTION is_affordable(bytes integer, name text); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.is_affordable(bytes integer, name text) IS 'Adds to what the answer to this HTTP request holds, and refuses it where that is too much: memory of PostgREST and Postgres is everybody''s.';


--
-- Name: is_fair(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.is_fair() RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  -- Immutable, so that the planner asks once, of whatever statement it plans, EXPLAIN among them, and no row does.
  perform gate.check_statement();
  return true;
end $$;


--
-- Name: FUNCTION is_fair(); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.is_fair() IS 'True in every view that clients read, or the statement is refused while it is planned.';


--
-- Name: is_let_work(uuid); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.is_let_work(of_row uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER COST 1
    SET search_path TO ''
    AS $$
declare
  is_read constant boolean := coalesce(current_setting('request.method', true) in ('GET', 'HEAD'), false);
  at_once constant int := 3;  -- of the ten connections that PostgREST has for everybody
begin
  if coalesce(current_setting('request.method', true), '') = '' then return true; end if;
  -- Shortly before statement_timeout would say so in words of its own.
  if clock_timestamp() > statement_timestamp() + (case when is_read then interval '2.5 s' else interval '7 s' end) then
    perform gate.refuse(400, 'question_too_costly',
      'This takes longer than a request may. Name fewer rows first, by created_at for instance, and give fewer patterns.');
  end if;
  if current_setting('precis.is_let_work', true) = 'yes' then return true; end if;
  for i in 1 .. at_once loop
    if pg_try_advisory_xact_lock(hashtext('precis.is_let_work'), hashtext(format('%s %s', gate.uid(), i))) then
      perform set_config('precis.is_let_work', 'yes', true);
      return true;
    end if;
  end loop;
  perform gate.refuse(429, 'too_many_at_once',
    format('%s requests of yours are at work on much already. Send this again when one of them is answered.', at_once),
    headers => '{"Retry-After": "1"}');
end $$;


--
-- Name: FUNCTION is_let_work(of_row uuid); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.is_let_work(of_row uuid) IS 'Asked by a statement that reads for long or reads much, for the row it is at: true for a few of an account at once, the others are refused. Short ones never get here.';


--
-- Name: metered(jsonb, text); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.metered(value jsonb, name text) RETURNS jsonb
    LANGUAGE sql STABLE
    RETURN CASE WHEN ((value IS NULL) OR (COALESCE(current_setting('request.method'::text, true), ''::text) = ''::text) OR gate.is_affordable(octet_length((value)::text), name)) THEN value ELSE NULL::jsonb END;


--
-- Name: FUNCTION metered(value jsonb, name text); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.metered(value jsonb, name text) IS 'The same for JSON.';


--
-- Name: metered(text, text); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.metered(value text, name text) RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN ((value IS NULL) OR (COALESCE(current_setting('request.method'::text, true), ''::text) = ''::text) OR gate.is_affordable(octet_length((to_json(value))::text), name)) THEN value ELSE NULL::text END;


--
-- Name: FUNCTION metered(value text, name text); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.metered(value text, name text) IS 'A column of a view whose size is a client''s or a model''s to choose, with the name it has there: what PostgREST reads of it is counted.';


--
-- Name: pre_config(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.pre_config() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  -- The active key first: PostgREST 12 tries keys in order. The random member keeps this document secret, so that
  -- it is worthless even if some PostgREST failed to parse it and took its text for an HMAC secret. It stands in front,
  -- which json keeps and jsonb would not: half a document is as secret.
  perform set_config('pgrst.jwt_secret', json_build_object(
      'x-pad', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''),
      'keys', coalesce((select jsonb_agg(k.public_jwk order by k.state = 'active' desc, k.created_at desc)
                        from private.signing_key k), '[]'))::text, true);
  perform set_config('pgrst.jwt_aud', i.audience, true) from private.token_issuer i;
end $$;


--
-- Name: FUNCTION pre_config(); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.pre_config() IS 'PostgREST''s db-pre-config: hands it the keys that tokens are verified with.';


--
-- Name: pre_request(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.pre_request() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION pre_request(); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.pre_request() IS 'Runs before every request of PostgREST and every read of an event stream: refuses tokens that PostgREST lets pass, and requests that would cost too much.';


--
-- Name: public_keys(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.public_keys(OUT jwk jsonb, OUT issuer text, OUT audience text) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
  select k.public_jwk, i.issuer, i.audience from private.signing_key k cross join private.token_issuer i
$$;


--
-- Name: FUNCTION public_keys(OUT jwk jsonb, OUT issuer text, OUT audience text); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.public_keys(OUT jwk jsonb, OUT issuer text, OUT audience text) IS 'The keys, issuer and audience that a bearer token is verified against.';


--
-- Name: refuse(integer, text, text, text, jsonb); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.refuse(status integer, code text, message text, hint text DEFAULT NULL::text, headers jsonb DEFAULT '{}'::jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  raise sqlstate 'PGRST' using
    message = json_build_object('code', code, 'message', message, 'details', null, 'hint', hint)::text,
    detail = json_build_object('status', status, 'headers', headers)::text;
end $$;


--
-- Name: FUNCTION refuse(status integer, code text, message text, hint text, headers jsonb); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.refuse(status integer, code text, message text, hint text, headers jsonb) IS 'Ends the request with an HTTP status, a stable code and a sentence that tells a person what to do. The JSON form keeps text out of the status line.';


--
-- Name: refuse_busy(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.refuse_busy() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- Not 503: PostgREST takes that for a lost database, reconnects, and adds a Retry-After of its own.
  perform gate.refuse(409, 'busy', 'Something else holds what this needs. Nothing was changed; try again in a moment.',
                      headers => '{"Retry-After": "1"}');
end $$;


--
-- Name: FUNCTION refuse_busy(); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.refuse_busy() IS 'What whoever waited too long for a lock is told, instead of 55P03, 40P01 or 57014.';


--
-- Name: request_state(text); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.request_state(job_state text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
  select case job_state when 'ready' then 'queued' when 'waiting' then 'running' else job_state end
$$;


--
-- Name: FUNCTION request_state(job_state text); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.request_state(job_state text) IS 'The public state of a request, from the state of its root job.';


--
-- Name: retry(uuid); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.retry(request_id uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  me constant uuid := gate.uid();
  used private.event_cursor;
begin
  perform gate.check_statement();
  perform private.check_own(request_id);
  begin
    perform private.retry(request_id);
    used := private.lock_cursor(me);
    perform private.charge_changes(used, 1);
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
  -- Asked afterwards: the lock on the event cursor comes behind that on the job. The model runs once more.
  used.waiting := used.waiting - 1;  -- without this one
  perform private.check_quota(used, private.allowance_of(me), 0);
  perform private.append_events('request', array[me], array[null::uuid], array[0], array[0::bigint], false);
end $$;


--
-- Name: FUNCTION retry(request_id uuid); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.retry(request_id uuid) IS 'Queues a failed or cancelled request of the caller again. It counts as a request of today, without bytes.';


--
-- Name: token_fault(jsonb); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.token_fault(claims jsonb) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $_$
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
end $_$;


--
-- Name: FUNCTION token_fault(claims jsonb); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.token_fault(claims jsonb) IS 'What is wrong with a verified token''s claims, null if nothing: PostgREST itself accepts tokens without exp, aud or sub, any iss, and sessions that ended.';


--
-- Name: uid(); Type: FUNCTION; Schema: gate; Owner: -
--

CREATE FUNCTION gate.uid() RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$ select nullif(gate.claims() ->> 'sub', '')::uuid $$;


--
-- Name: FUNCTION uid(); Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON FUNCTION gate.uid() IS 'The account that is signed in, null for anonymous. Policies use (select gate.uid()).';


--
-- Name: add_model(text); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.add_model(model_name text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION add_model(model_name text); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.add_model(model_name text) IS 'The id of the model called so; makes it, with its clock, if it is new.';


--
-- Name: allowance_of(uuid); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.allowance_of(owner uuid) RETURNS private.allowance
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  select a.* from private.allowance a where a.owner = allowance_of.owner
  union all
  select a.* from private.allowance a where a.owner is null
  limit 1
$$;


--
-- Name: FUNCTION allowance_of(owner uuid); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.allowance_of(owner uuid) IS 'The account''s own row, or the one for everybody.';


--
-- Name: answer(integer, uuid, boolean); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.answer(status integer, id uuid, replayed boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  several constant boolean := current_setting('precis.answered', true) = 'yes';
begin
  perform set_config('precis.answered', 'yes', true);
  perform set_config('response.status', status::text, true);
  -- The last row's Location would win: several rows get none.
  perform set_config('response.headers', case
    when several then '[]'
    when replayed then jsonb_build_array(jsonb_build_object('Location', '/requests?id=eq.' || id),
                                         jsonb_build_object('Idempotent-Replayed', 'true'))::text
    else jsonb_build_array(jsonb_build_object('Location', '/requests?id=eq.' || id))::text end, true);
end $$;


--
-- Name: FUNCTION answer(status integer, id uuid, replayed boolean); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.answer(status integer, id uuid, replayed boolean) IS 'Sets the HTTP status and the headers of an accepted request.';


--
-- Name: append_events(text, uuid[], uuid[], integer[], bigint[], boolean); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.append_events(event_kind text, owners uuid[], refs uuid[], waits integer[], sent bigint[], are_gone boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  blocks bigint[];  -- of each one's last event: where to look for their cursor
  numbers bigint[] := '{}';
  last_n bigint;
  watched boolean;
begin
  if cardinality(owners) = 1 then
    blocks := array[(select e.n >> 4 from private.event e where e.owner = owners[1] order by e.n desc limit 1)];
  else  -- in one order: two statements over several owners cannot deadlock
    select array_agg(x.owner), array_agg(x.ref), array_agg(x.waits), array_agg(x.sent), array_agg(x.block)
      into owners, refs, waits, sent, blocks
      from (select c.owner, c.ref, c.waits, c.sent,
                   (select e.n >> 4 from private.event e where e.owner = c.owner order by e.n desc limit 1) as block
              from unnest(owners, refs, waits, sent) with ordinality c(owner, ref, waits, sent, i)
             order by c.owner, c.ref is not null, c.i) x;
  end if;
  for i in 1 .. coalesce(cardinality(owners), 0) loop
    -- Takes the next number and learns whether somebody watches. A stream sets watched_until on this row before it
    -- reads its backlog, so an event is either in that backlog or rings. No row: the account itself is being deleted.
    if sent[i] is null then
      update private.event_cursor c set n = c.n + num_nonnulls(refs[i]), waiting = c.waiting + coalesce(waits[i], 0)
       where c.owner = owners[i] and c.block >= coalesce(blocks[i], 0)
      returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    else
      -- A transaction that began before midnight and got here after another of today must not turn the day back.
      update private.event_cursor c
         set n = c.n + num_nonnulls(refs[i]), waiting = c.waiting + coalesce(waits[i], 0), day = greatest(c.day, today),
             day_requests = case when c.day >= today then c.day_requests else 0 end + 1,
             day_bytes = case when c.day >= today then c.day_bytes else 0 end + sent[i]
       where c.owner = owners[i] and c.block >= coalesce(blocks[i], 0)
      returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    end if;
    numbers[i] := last_n;
    if owners[i] = owners[i + 1] then
      blocks[i + 1] := last_n >> 4;
    elsif watched and refs[i] is not null then
      perform private.tell('precis_event', owners[i] || ':' || last_n);
    end if;
  end loop;
  insert into private.event (owner, n, kind, ref, gone)
    select x.owner, x.n, event_kind, x.ref, are_gone from unnest(owners, numbers, refs) x(owner, n, ref)
     where x.n is not null and x.ref is not null;
end $$;


--
-- Name: FUNCTION append_events(event_kind text, owners uuid[], refs uuid[], waits integer[], sent bigint[], are_gone boolean); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.append_events(event_kind text, owners uuid[], refs uuid[], waits integer[], sent bigint[], are_gone boolean) IS 'For each owner: appends an event for each ref that is not null and rings if somebody watches, adds waits to what is queued, and counts each sent that is not null as a request of today with so many bytes.';


--
-- Name: apply_changes(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.apply_changes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  changes constant jsonb[] := array(select line::jsonb from string_to_table(rtrim(current_setting('precis.changes', true), chr(10)), chr(10)) line);
begin
  perform set_config('precis.changes', '', true);
  if cardinality(changes) = 0 then return null; end if;
  begin
    perform private.lock_own(array(select (c ->> 'id')::uuid from unnest(changes) c), cardinality(changes));
    if tg_op = 'DELETE' then
      perform private.delete_own(array(select (c ->> 'id')::uuid from unnest(changes) c));
    else
      perform private.change_own(c) from unnest(changes) c;
    end if;
  exception when lock_not_available or deadlock_detected or query_canceled then
    perform gate.refuse_busy();
  end;
  return null;
end $$;


--
-- Name: FUNCTION apply_changes(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.apply_changes() IS 'Does what the rows of a client''s PATCH or DELETE have noted.';


--
-- Name: begin_incarnation(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.begin_incarnation() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION begin_incarnation(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.begin_incarnation() IS 'Begins a new incarnation where Postgres has thrown the last one away; whether it was this call. No event id and no claim is drawn twice across it.';


--
-- Name: cancel(uuid); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.cancel(request_id uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  jobs constant bigint[] := private.jobs_of(request_id);
  was_running boolean;
begin
  perform private.take_turn(r.owner) from private.request r where r.id = cancel.request_id;
  perform from private.job j where j.id = any (jobs) order by j.id for no key update;
  if not found then perform gate.refuse(404, 'request_not_found', 'There is no request with this id.'); end if;
  select bool_or(j.state = 'running') into was_running from private.job j where j.id = any (jobs);
  update private.job j set state = 'cancelled', worker_id = null, deadline_at = null, updated_at = now(), finished_at = now()
   where j.id = any (jobs) and j.state in ('ready', 'running', 'waiting');
  if not found then
    perform from private.job j where j.id = any (jobs) and j.kind = 'root' and j.state = 'cancelled';
    if found then return; end if;
    perform gate.refuse(409, 'already_finished', 'This request has ended already.');
  end if;
  delete from private.partial p where p.request_id = cancel.request_id;
  if was_running then perform private.tell('precis_control', cancel.request_id::text); end if;
end $$;


--
-- Name: FUNCTION cancel(request_id uuid); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.cancel(request_id uuid) IS 'Ends a queued or running request, whoever''s it is, with all its jobs.';


--
-- Name: chain_missed(uuid[], integer[], bigint[], bigint[]); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.chain_missed(owners uuid[], models integer[], tags bigint[], held bigint[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
declare
  late record;
  next_turn bigint;
  step bigint;
  clock_now bigint;
  moved bigint := 0;
  more bigint;
begin
  -- The cursors of all of them, in one order: the claim's own events lock the others' next, and two claims must not deadlock.
  for late in select o.owner, o.model_id, min(o.tag) as lowest from unnest(owners, models, tags) o(owner, model_id, tag)
               group by o.owner, o.model_id order by o.owner, o.model_id loop
    next_turn := private.fair_tag(late.owner, late.model_id);
    continue when late.lowest is null;
    select private.step_of(m, private.allowance_of(late.owner)), coalesce(pg_sequence_last_value(m.clock), 0)
      into step, clock_now from private.model m where m.id = late.model_id;
    with missed as materialized (
      select j.id, j.rank, j.tag from private.job j
       where j.state = 'ready' and j.run_at is null and j.owner = late.owner and j.model_id = late.model_id
         and (-j.tag) > -clock_now and (-j.tag) <= -late.lowest and j.id <> all (held)
         for no key update skip locked),
    placed as (select m.id, row_number() over (order by m.rank desc, m.tag, m.id) - 1 as place from missed m)
    update private.job j set tag = next_turn + p.place * step from placed p where j.id = p.id;
    get diagnostics more = row_count;
    moved := moved + more;
  end loop;
  return moved;
end $$;


--
-- Name: FUNCTION chain_missed(owners uuid[], models integer[], tags bigint[], held bigint[]); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.chain_missed(owners uuid[], models integer[], tags bigint[], held bigint[]) IS 'Puts the rows of owners that lie below the clock, from the least of their tags on (none of them where all are null), behind the owner''s last: their transaction was open, or somebody held them, while the clock went on. Not those that the claim itself holds. How many were moved.';


--
-- Name: change_own(jsonb); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.change_own(change jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  job private.job;
begin
  select j.* into job from private.request r join private.job j on j.id = r.job_id
   where r.id = (change ->> 'id')::uuid and r.owner = gate.uid();
  if not found then return; end if;  -- gone since the statement saw it
  if change ? 'priority' then
    if job.state <> 'ready' then
      perform gate.refuse(409, 'not_queued', 'Only a queued request can get another priority or time.');
    end if;
    job.priority := (change ->> 'priority')::smallint;
    if change ? 'run_at' then job.run_at := (change ->> 'run_at')::timestamptz; end if;
    if job.run_at <= now() then job.run_at := null; end if;
    -- What waited in its owner's turn keeps it, whatever its priority is now.
    update private.job j set priority = job.priority, rank = 2 * job.priority + (j.epoch > 0)::int, run_at = job.run_at, updated_at = now(),
           tag = case when job.run_at is null and j.run_at is not null then private.fair_tag(j.owner, j.model_id) else j.tag end
     where j.id = job.id;
    if job.run_at is null then perform private.ring(); end if;
  end if;
  if change ? 'title' then update private.request r set title = change ->> 'title' where r.id = (change ->> 'id')::uuid; end if;
end $$;


--
-- Name: FUNCTION change_own(change jsonb); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.change_own(change jsonb) IS 'Gives a request of the caller the title, priority or time noted. Needs the locks of private.lock_own.';


--
-- Name: event_cursor; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.event_cursor (
    owner uuid NOT NULL,
    n bigint DEFAULT 0 NOT NULL,
    min_n bigint DEFAULT 0 NOT NULL,
    watched_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    waiting integer DEFAULT 0 NOT NULL,
    day date DEFAULT '-infinity'::date NOT NULL,
    day_requests integer DEFAULT 0 NOT NULL,
    day_bytes bigint DEFAULT 0 NOT NULL,
    changes_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    block bigint GENERATED ALWAYS AS ((n >> 4)) STORED NOT NULL
)
WITH (fillfactor='50');


--
-- Name: TABLE event_cursor; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.event_cursor IS 'The last event number of an account, the last one already pruned, and until when a stream of that account is open. What its quotas count stands here as well: every insert and every claim locks this row anyway.';


--
-- Name: COLUMN event_cursor.waiting; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.event_cursor.waiting IS 'Requests of the account that are queued, scheduled ones included.';


--
-- Name: COLUMN event_cursor.day; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.event_cursor.day IS 'The day (UTC) that day_requests and day_bytes count.';


--
-- Name: COLUMN event_cursor.changes_until; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.event_cursor.changes_until IS 'Until when the changes made so far would have taken at the rate that the account is allowed. A minute ahead is as far as it may get.';


--
-- Name: COLUMN event_cursor.block; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.event_cursor.block IS 'Which block of 16 numbers n lies in. An owner''s old versions lie in earlier ones: the block of their last event is where to look.';


--
-- Name: charge_changes(private.event_cursor, integer); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.charge_changes(used private.event_cursor, changes integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  until constant timestamptz := private.check_rate(used, changes);
begin
  update private.event_cursor c set changes_until = until where c.owner = used.owner and c.block >= used.block and until is not null;
end $$;


--
-- Name: FUNCTION charge_changes(used private.event_cursor, changes integer); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.charge_changes(used private.event_cursor, changes integer) IS 'Counts changes of an account, or refuses them. Takes the owner''s event cursor as it is while locked.';


--
-- Name: check_change(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.check_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if coalesce(current_setting('request.method', true), '') = '' then return null; end if;  -- nobody at PostgREST
  perform gate.check_statement();
  if tg_op <> 'INSERT' and strpos(current_query(), ' WHERE ') = 0 then
    perform gate.refuse(400, 'no_filter', format('Without a filter this would %s all your requests: name the rows, as in ?id=eq.<id>.',
                        case tg_op when 'DELETE' then 'delete' else 'change' end),
                        'POST /rpc/clear {"state": "done"} deletes all that are done, and so on for each state.');
  end if;
  if tg_op <> 'INSERT' then
    perform private.check_rate(c) from private.event_cursor c where c.owner = gate.uid();
  end if;
  perform set_config('precis.shows_rows', case when strpos(current_query(), 'RETURNING 1)') = 0 then 'yes' end, true);
  return null;
end $$;


--
-- Name: FUNCTION check_change(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.check_change() IS 'Refuses a statement of a client before it touches a row: one that no view has looked at, and one that names no rows. Notes whether the rows are to be answered.';


--
-- Name: check_own(uuid); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.check_own(request_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
  perform from private.request r where r.id = request_id and r.owner = gate.uid();
  if not found then perform gate.refuse(404, 'request_not_found', 'You have no request with this id.'); end if;
end $$;


--
-- Name: FUNCTION check_own(request_id uuid); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.check_own(request_id uuid) IS 'Refuses somebody else''s request as if it were not there.';


--
-- Name: check_quota(private.event_cursor, private.allowance, bigint); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.check_quota(used private.event_cursor, allowed private.allowance, bytes bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  tomorrow constant int := ceil(extract(epoch from (today + 1)::timestamp - now() at time zone 'UTC'));
begin
  if used.day < today then used.day_requests := 0; used.day_bytes := 0; end if;
  if used.waiting >= allowed.requests_waiting then
    perform private.refuse_waiting(allowed.requests_waiting);
  elsif used.day_requests >= allowed.requests_per_day then
    perform private.refuse_quota('daily_requests_used',
      format('You have sent the %s requests that you may send in a day. Send more after midnight UTC.', allowed.requests_per_day), tomorrow);
  elsif used.day_bytes + bytes > allowed.bytes_per_day then
    perform private.refuse_quota('daily_bytes_used',
      format('With this request you would have sent more than the %s bytes that you may send in a day. Send it after midnight UTC.', allowed.bytes_per_day), tomorrow);
  end if;
end $$;


--
-- Name: FUNCTION check_quota(used private.event_cursor, allowed private.allowance, bytes bigint); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.check_quota(used private.event_cursor, allowed private.allowance, bytes bigint) IS 'Refuses one more request with so many bytes if a quota that its owner is allowed is used up. Takes the owner''s event cursor as it is while locked: no two inserts get the last place.';


--
-- Name: check_rate(private.event_cursor, integer); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.check_rate(used private.event_cursor, changes integer DEFAULT 1) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
  allowed constant int := (private.allowance_of(used.owner)).changes_per_minute;
  each constant interval := make_interval(secs => 60.0 / greatest(allowed, 1));
  -- No statement is refused for its size alone: private.count_rows bounds that.
  until constant timestamptz := greatest(used.changes_until, clock_timestamp()) + least(changes, greatest(allowed, 1)) * each;
  late constant int := ceil(extract(epoch from until - clock_timestamp()) - 60);
begin
  if late > 0 or allowed = 0 then
    perform private.refuse_quota('too_many_changes',
      format('These are more than the %s changes of requests that you may make in a minute. Go on a little later.', allowed), greatest(late, 1));
  end if;
  return case when allowed is not null then until end;
end $$;


--
-- Name: FUNCTION check_rate(used private.event_cursor, changes integer); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.check_rate(used private.event_cursor, changes integer) IS 'Refuses so many changes if they do not fit into a bucket that holds those of a minute. Until when it would be that much emptier; null without a limit.';


--
-- Name: job; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.job (
    id bigint NOT NULL,
    request_id uuid NOT NULL,
    owner uuid NOT NULL,
    model_id integer NOT NULL,
    kind text DEFAULT 'root'::text NOT NULL,
    state text DEFAULT 'ready'::text NOT NULL,
    priority smallint DEFAULT 0 NOT NULL,
    tag bigint DEFAULT 0 NOT NULL,
    rank smallint DEFAULT 0 NOT NULL,
    run_at timestamp with time zone,
    epoch bigint DEFAULT 0 NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    worker_id integer,
    claimed_at timestamp with time zone,
    deadline_at timestamp with time zone,
    progress real DEFAULT 0 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    error_code text,
    error_message text,
    started_at timestamp with time zone
)
WITH (fillfactor='75', autovacuum_vacuum_scale_factor='0.01', autovacuum_vacuum_cost_delay='0');


--
-- Name: TABLE job; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.job IS 'One unit of work with one model call at a time. Narrow and hot: text that does not change stays in private.request.';


--
-- Name: COLUMN job.tag; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.job.tag IS 'A turn of its owner, as virtual time: the order between owners (start-time fair queueing). Which of the owner''s rows takes it, the claim decides.';


--
-- Name: COLUMN job.rank; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.job.rank IS 'Which of its owner''s rows goes first: by priority, then those that have been begun before; twice the priority, and one more. A column, since row security keeps an expression from ordering by the index. Not a generated one: its expression would be parsed anew by each statement.';


--
-- Name: COLUMN job.run_at; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.job.run_at IS 'Not before this; null once it is due. Only a job with null is in the ready index.';


--
-- Name: COLUMN job.epoch; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.job.epoch IS 'Counts the claims. Every write of a worker carries it and changes nothing if it has moved on.';


--
-- Name: COLUMN job.error_code; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.job.error_code IS 'Why the last attempt ended without a result. What a client sees of it, it sees once the job has failed.';


--
-- Name: COLUMN job.started_at; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.job.started_at IS 'First claim since a person asked for it: the budget of total time counts from here.';


--
-- Name: job_id_seq; Type: SEQUENCE; Schema: private; Owner: -
--

ALTER TABLE private.job ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME private.job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: request; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.request (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    owner uuid NOT NULL,
    title text,
    task text NOT NULL,
    text text,
    document_id uuid,
    url text,
    target_words integer,
    target_ratio real,
    style text DEFAULT 'plain'::text NOT NULL,
    language text,
    model text NOT NULL,
    idempotency_key text,
    body_hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    job_id bigint DEFAULT nextval('private.job_id_seq'::regclass) NOT NULL,
    bytes integer DEFAULT 0 NOT NULL,
    CONSTRAINT request_has_one_source CHECK ((num_nonnulls(text, document_id, url) = 1)),
    CONSTRAINT request_has_one_target CHECK ((num_nonnulls(target_words, target_ratio) <= 1)),
    CONSTRAINT request_idempotency_key_is_short CHECK (((char_length(idempotency_key) >= 1) AND (char_length(idempotency_key) <= 255))),
    CONSTRAINT request_language_is_a_tag CHECK (((language ~ '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$'::text) AND (char_length(language) <= 35))),
    CONSTRAINT request_style_is_known CHECK ((style = ANY (ARRAY['plain'::text, 'bullets'::text, 'headline'::text]))),
    CONSTRAINT request_target_ratio_is_sane CHECK (((target_ratio > (0)::double precision) AND (target_ratio < (1)::double precision))),
    CONSTRAINT request_target_words_is_sane CHECK (((target_words >= 1) AND (target_words <= 20000))),
    CONSTRAINT request_task_is_known CHECK ((task = ANY (ARRAY['summarize'::text, 'shorten'::text]))),
    CONSTRAINT request_text_is_at_most_1_mib CHECK ((octet_length(text) <= 1048576)),
    CONSTRAINT request_title_is_short CHECK ((char_length(title) <= 300)),
    CONSTRAINT request_url_is_short CHECK ((char_length(url) <= 2048))
);


--
-- Name: TABLE request; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.request IS 'What was asked. Never changes, but for its title.';


--
-- Name: COLUMN request.job_id; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.request.job_id IS 'Its root job, which carries its state. Drawn with the request; the job takes it for its id.';


--
-- Name: COLUMN request.bytes; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.request.bytes IS 'What was sent for it, of all columns and the idempotency key: what the quota counts.';


--
-- Name: result; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.result (
    request_id uuid NOT NULL,
    owner uuid NOT NULL,
    epoch bigint NOT NULL,
    body text NOT NULL,
    checks jsonb DEFAULT '{}'::jsonb NOT NULL,
    engine jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE result; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.result IS 'What came out, by the one claim that was accepted.';


--
-- Name: requests; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.requests WITH (security_invoker='true') AS
 SELECT r.id,
    gate.metered(r.title, 'title'::text) AS title,
    r.task,
    gate.metered(r.text, 'text'::text) AS text,
    r.document_id,
    gate.metered(r.url, 'url'::text) AS url,
    r.target_words,
    r.target_ratio,
    r.style,
    r.language,
    r.model,
    j.priority,
    j.run_at,
    gate.request_state(j.state) AS state,
    j.progress,
    gate.metered(s.body, 'result'::text) AS result,
    gate.metered(s.checks, 'checks'::text) AS checks,
    gate.metered(s.engine, 'engine'::text) AS engine,
        CASE
            WHEN (j.state = 'failed'::text) THEN j.error_code
            ELSE NULL::text
        END AS error_code,
        CASE
            WHEN (j.state = 'failed'::text) THEN gate.metered(j.error_message, 'error_message'::text)
            ELSE NULL::text
        END AS error_message,
    r.created_at,
    j.updated_at,
    j.finished_at
   FROM ((private.request r
     JOIN private.job j ON ((j.id = r.job_id)))
     LEFT JOIN private.result s ON ((s.request_id = r.id)))
  WHERE (gate.is_fair() AND
        CASE
            WHEN (clock_timestamp() > (statement_timestamp() + '00:00:00.1'::interval)) THEN gate.is_let_work(r.id)
            ELSE true
        END AND
        CASE
            WHEN (clock_timestamp() > (statement_timestamp() + '00:00:00.1'::interval)) THEN gate.is_let_work(j.request_id)
            ELSE true
        END);


--
-- Name: VIEW requests; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.requests IS 'Your requests. Insert one to have a text summarised or shortened; delete one to cancel and forget it.';


--
-- Name: COLUMN requests.id; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.id IS 'Made by the server.';


--
-- Name: COLUMN requests.title; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.title IS 'Yours, up to 300 characters; may change at any time.';


--
-- Name: COLUMN requests.task; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.task IS 'summarize or shorten.';


--
-- Name: COLUMN requests.text; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.text IS 'The text itself, up to 1 MiB. Exactly one of text, document_id and url.';


--
-- Name: COLUMN requests.document_id; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.document_id IS 'A stored document as the source.';


--
-- Name: COLUMN requests.url; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.url IS 'An address as the source.';


--
-- Name: COLUMN requests.target_words; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.target_words IS 'How many words the result should have. At most one of target_words and target_ratio.';


--
-- Name: COLUMN requests.target_ratio; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.target_ratio IS 'How long the result should be as a share of the source, between 0 and 1.';


--
-- Name: COLUMN requests.style; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.style IS 'plain, bullets or headline.';


--
-- Name: COLUMN requests.language; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.language IS 'Language of the result as a BCP 47 tag; null for that of the source.';


--
-- Name: COLUMN requests.model; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.model IS 'A name from /models; null takes the default.';


--
-- Name: COLUMN requests.priority; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.priority IS '-1, 0 or 1, among your own requests. May change while queued.';


--
-- Name: COLUMN requests.run_at; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.run_at IS 'Not before this time; null is now. May change while queued.';


--
-- Name: COLUMN requests.state; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.state IS 'queued, running, done, failed or cancelled.';


--
-- Name: COLUMN requests.progress; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.progress IS 'Between 0 and 1.';


--
-- Name: COLUMN requests.result; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.result IS 'The summary or the shortened text, once done.';


--
-- Name: COLUMN requests.checks; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.checks IS 'What was measured on the result without a model: length, language, numbers, names, quotes and more.';


--
-- Name: COLUMN requests.engine; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.engine IS 'What made the result: engine, model, token counts, durations.';


--
-- Name: COLUMN requests.error_code; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.error_code IS 'A stable word, if failed.';


--
-- Name: COLUMN requests.error_message; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.error_message IS 'What to do about it, if failed.';


--
-- Name: COLUMN requests.created_at; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.created_at IS 'When the request was accepted.';


--
-- Name: COLUMN requests.updated_at; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.updated_at IS 'When its state last changed.';


--
-- Name: COLUMN requests.finished_at; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.requests.finished_at IS 'When it ended.';


--
-- Name: check_request(public.requests); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.check_request(new public.requests) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $_$
declare
  fault text[] := case
    when new.task is null or new.task not in ('summarize', 'shorten') then array['unknown_task',
      'The task must be summarize or shorten.']
    when char_length(new.url) > 2048 then array['url_too_long',
      'An address has at most 2048 characters.']
    when char_length(new.model) > 200 then array['model_too_long',
      'The name of a model has at most 200 characters. GET /models lists them.']
    when char_length(new.language) > 35 then array['language_too_long',
      'A language tag has at most 35 characters: en, de or pt-BR.']
    when num_nonnulls(new.text, new.document_id, new.url) = 0 then array['no_source',
      'Nothing to work on: give the text.']
    when num_nonnulls(new.text, new.document_id, new.url) > 1 then array['several_sources',
      'Give exactly one of text, document_id and url.']
    when new.text is null then array['source_not_supported',
      'This server reads text only: put the text itself into text.']
    when octet_length(new.text) > 1048576 then array['text_too_large',
      'The text is larger than 1 MiB. Split it and send the parts one by one.']
    when new.text !~ '[[:alnum:]]' then array['empty_text',
      'The text holds no letter or digit. Give a text that says something.']
    when num_nonnulls(new.target_words, new.target_ratio) > 1 then array['several_targets',
      'Give target_words or target_ratio, not both.']
    when new.target_words not between 1 and 20000 then array['invalid_target_words',
      'target_words must be between 1 and 20000.']
    when new.target_ratio <= 0 or new.target_ratio >= 1 or new.target_ratio = 'NaN' then array['invalid_target_ratio',
      'target_ratio must be above 0 and below 1: 0.3 asks for three tenths of the length.']
    when new.style not in ('plain', 'bullets', 'headline') then array['unknown_style',
      'The style must be plain, bullets or headline.']
    when new.language !~ '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$' then array['invalid_language',
      'language must be a BCP 47 tag such as en, de or pt-BR; leave it out for the language of the source.']
    when char_length(new.title) > 300 then array['title_too_long',
      'A title has at most 300 characters.']
    when new.priority not between -1 and 1 then array['invalid_priority',
      'priority must be -1, 0 or 1.']
    when new.run_at > now() + interval '1 year' or new.run_at = 'infinity' then array['invalid_run_at',
      'run_at must lie within a year from now.']
    end;
begin
  if fault is not null then
    perform gate.refuse(case fault[1] when 'text_too_large' then 413 else 422 end, fault[1], fault[2]);
  end if;
end $_$;


--
-- Name: FUNCTION check_request(new public.requests); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.check_request(new public.requests) IS 'Refuses a request that cannot be accepted, with a code and a sentence. The tables guard themselves as well.';


--
-- Name: clear_own(uuid[], text[]); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.clear_own(requests uuid[], job_states text[]) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- The event cursor is locked already: whatever job somebody else holds is passed by, and is for the next call.
  requests := array(select j.request_id from private.request r join private.job j on j.id = r.job_id
                     where r.id = any (requests) and j.state = any (job_states) for no key update of j skip locked);
  if not job_states && '{ready,running}' then
    perform private.delete_own(requests);
  else
    perform private.tell('precis_control', r::text) from unnest(requests) r
      where exists (select from private.job j where j.id = any (private.jobs_of(r)) and j.state = 'running');
    update private.job j set state = 'cancelled', worker_id = null, deadline_at = null, updated_at = now(), finished_at = now()
     where j.id = any (array(select unnest(private.jobs_of(r)) from unnest(requests) r)) and j.state in ('ready', 'running', 'waiting');
    delete from private.partial p where p.request_id = any (requests);
  end if;
  return cardinality(requests);
end $$;


--
-- Name: FUNCTION clear_own(requests uuid[], job_states text[]); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.clear_own(requests uuid[], job_states text[]) IS 'Cancels those of the caller''s requests that are queued or running, deletes those that have ended; how many were in these states and not locked.';


--
-- Name: count_rows(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.count_rows() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
  rows constant int := coalesce(nullif(current_setting('precis.rows', true), ''), '0')::int + 1;
  is_insert constant boolean := current_setting('request.method', true) = 'POST';
  asked int;
begin
  if coalesce(current_setting('request.method', true), '') = '' then return; end if;
  perform set_config('precis.rows', rows::text, true);
  if is_insert and rows > 1000 then
    perform gate.refuse(413, 'too_many_rows', 'This is more than 1000 requests at once. Send them in several parts.');
  elsif is_insert and clock_timestamp() > statement_timestamp() + interval '7 s' then  -- before statement_timeout says so
    perform gate.refuse(413, 'too_many_rows', 'So many requests take longer to store than a request may. Send fewer at once.');
  elsif not is_insert then
    asked := private.max_affected();
    if rows > least(asked, 1000) then
      perform gate.refuse(400, 'too_many_rows', format('This would change more than %s requests.', least(asked, 1000))
                          || case when asked < 1000 then ' Name fewer rows, or say how many it may be: the header Prefer: max-affected=1000 allows most.'
                                  else ' Name fewer rows, or use POST /rpc/clear.' end);
    end if;
  end if;
end $$;


--
-- Name: FUNCTION count_rows(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.count_rows() IS 'Counts the rows that an HTTP request adds, changes or deletes, and refuses it when they become too many.';


--
-- Name: deal_turns(bigint[]); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.deal_turns(jobs bigint[]) RETURNS TABLE(at tid, id bigint, request_id uuid, ready_at timestamp with time zone, reached bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
begin
  return query
  with turn as materialized (
    select j.ctid, j.id, j.request_id, j.owner, j.model_id, j.tag, j.updated_at, j.rank from private.job j where j.id = any (jobs)),
  best as materialized (
    select b.* from (select t.owner, t.model_id, min(t.rank) as rank, min(t.tag) as lowest, count(*) as turns from turn t
                      group by t.owner, t.model_id) o
     cross join lateral (
      select j.ctid, j.id, j.request_id, j.owner, j.model_id, j.tag, j.updated_at, j.rank from private.job j
       where j.owner = o.owner and j.model_id = o.model_id and j.rank > o.rank and (-j.tag) <= -o.lowest
         and j.state = 'ready' and j.run_at is null
       order by j.rank desc, (-j.tag) desc limit o.turns for no key update skip locked) b),
  ranked as materialized (
    select x.*, row_number() over o as place, count(*) filter (where x.bears) over m as turns,
           max(x.tag) filter (where x.bears) over m as last_turn
      from (select t.*, true as bears from turn t
            union all
            select b.*, false from best b where b.id <> all (jobs)) x
    window m as (partition by x.owner, x.model_id), o as (m order by x.rank desc, x.tag, x.id)),
  swapped as materialized (  -- bore a turn and does not take it, or takes one and bore none: of each as many
    select r.*, row_number() over (partition by r.owner, r.model_id, r.bears order by r.place) as n
      from ranked r where r.bears = (r.place > r.turns)),
  passed as (
    update private.job j set tag = t.tag
      from swapped s join swapped t on t.owner = s.owner and t.model_id = s.model_id and t.n = s.n and not t.bears
     where s.bears and j.id = s.id)
  select r.ctid, r.id, r.request_id, r.updated_at, r.last_turn from ranked r where r.place <= r.turns;
end $$;


--
-- Name: FUNCTION deal_turns(jobs bigint[]); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.deal_turns(jobs bigint[]) IS 'Deals the turns of these jobs, which the claim holds, among their owners'' rows by rank, and locks who takes one: where they lie, since when they are ready, their owner''s last turn of these. Who bears a turn and takes none gets the tag of one who does.';


--
-- Name: delete_own(uuid[]); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.delete_own(requests uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- Whoever runs one finds its claim gone, and is told so at once.
  perform private.tell('precis_control', r::text) from unnest(requests) r
    where exists (select from private.job j where j.id = any (private.jobs_of(r)) and j.state = 'running');
  delete from private.partial p where p.request_id = any (requests);
  delete from private.request r where r.id = any (requests) and r.owner = gate.uid();
end $$;


--
-- Name: FUNCTION delete_own(requests uuid[]); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.delete_own(requests uuid[]) IS 'Cancels and forgets requests of the caller: jobs, result and partial text go along. Needs the locks of private.lock_own.';


--
-- Name: delete_request(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.delete_request() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  perform private.count_rows();
  perform private.note_change(jsonb_build_object('id', old.id));
  return old;
end $$;


--
-- Name: FUNCTION delete_request(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.delete_request() IS 'Notes a request that is to be deleted once all of them are known.';


--
-- Name: drain(integer, boolean); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.drain(worker_id integer, on_or_off boolean DEFAULT true) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  update private.worker w set draining = on_or_off where w.id = worker_id;
  if not found then perform gate.refuse(404, 'unknown_worker', 'No worker has this number.'); end if;
  perform private.tell('precis_control', 'models');
end $$;


--
-- Name: FUNCTION drain(worker_id integer, on_or_off boolean); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.drain(worker_id integer, on_or_off boolean) IS 'The worker claims nothing more; what it runs ends. Off lets it claim again, unless it is leaving.';


--
-- Name: fair_tag(uuid, integer); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.fair_tag(owner uuid, model_id integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
begin
  perform from private.event_cursor c
   where c.owner = fair_tag.owner
     and c.block >= coalesce((select e.n >> 4 from private.event e where e.owner = fair_tag.owner order by e.n desc limit 1), 0)
     for no key update;
  return (select private.next_tag(fair_tag.owner, m, private.step_of(m, private.allowance_of(fair_tag.owner)))
            from private.model m where m.id = fair_tag.model_id);
end $$;


--
-- Name: FUNCTION fair_tag(owner uuid, model_id integer); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.fair_tag(owner uuid, model_id integer) IS 'The turn of a job that becomes ready, whatever made it so: the owner''s next one, under the lock that orders them. Sees the rows that the same statement has given one.';


--
-- Name: forget_events(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.forget_events() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  delete from private.event e where e.owner = any (array(select o.owner from before_rows o));
  return null;
end $$;


--
-- Name: FUNCTION forget_events(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.forget_events() IS 'An account is gone, and its event cursor with it: nobody can append to its events any more.';


--
-- Name: idempotency_key(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.idempotency_key() RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
  key text := gate.header('Idempotency-Key');
begin
  if key is null then return null; end if;
  if key !~ '^[\x21-\x7e]{1,255}$' then
    perform gate.refuse(400, 'invalid_idempotency_key', 'An Idempotency-Key is 1 to 255 printable ASCII characters without spaces.');
  end if;
  if current_setting('precis.key_used', true) = 'yes' then
    perform gate.refuse(400, 'idempotency_needs_one_row', 'An Idempotency-Key names one request. Send one row, or no key.');
  end if;
  perform set_config('precis.key_used', 'yes', true);
  return key;
end $_$;


--
-- Name: FUNCTION idempotency_key(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.idempotency_key() IS 'The key that this HTTP request carries. It cannot be right for several rows.';


--
-- Name: insert_request(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.insert_request() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  me constant uuid := gate.uid();
  key constant text := private.idempotency_key();
  -- Of every column, so that a new one counts as well; one instant, whatever zone the client prefers to read it in.
  hash constant bytea := sha256(convert_to((to_jsonb(new) || jsonb_build_object('run_at', new.run_at at time zone 'UTC'))::text, 'UTF8'));
  bytes constant int := coalesce(octet_length(new.text), 0) + coalesce(octet_length(new.title), 0) + coalesce(octet_length(new.url), 0)
    + coalesce(octet_length(new.style), 0) + coalesce(octet_length(new.language), 0) + coalesce(octet_length(new.model), 0)
    + coalesce(octet_length(key), 0);
  model private.model;
  allowed private.allowance;
  step bigint;
  used private.event_cursor;
  stored private.request;
begin
  perform private.count_rows();
  if num_nonnulls(new.id, new.state, new.progress, new.result, new.checks, new.engine, new.error_code, new.error_message,
                  new.created_at, new.updated_at, new.finished_at) > 0 then
    perform gate.refuse(422, 'read_only_column', 'id, state, progress, result and what else a request comes to are the server''s to say. Leave them out.',
                        'A request needs a task and a text; title, target_words, target_ratio, style, language, model, priority and run_at are yours as well.');
  end if;
  if current_setting('precis.shows_rows', true) = 'yes' then
    perform gate.metered(new.text, 'text'), gate.metered(new.title, 'title'), gate.metered(new.url, 'url');
  end if;
  if key is not null then
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_request(new);
  model := private.resolve_model(new.model);
  allowed := private.allowance_of(me);
  step := private.step_of(model, allowed);
  -- The lock that orders this owner's events orders their tags and guards their quotas as well. What can be known before it is.
  select * into used from private.event_cursor c
   where c.owner = me and c.block >= coalesce((select e.n >> 4 from private.event e where e.owner = me order by e.n desc limit 1), 0)
     for no key update skip locked;
  if not found then used := private.lock_cursor(me); end if;  -- apart: it costs a subtransaction to wait
  if key is not null then  -- the same key, a moment ago: no new request, so no quota is asked
    select * into stored from private.request r where r.owner = me and r.idempotency_key = key;
    if found then return private.replay_request(stored, hash); end if;
  end if;
  perform private.check_quota(used, allowed, bytes);
  insert into private.request (owner, title, task, text, document_id, url, target_words, target_ratio, style, language,
                               model, idempotency_key, body_hash, bytes)
    values (me, new.title, new.task, new.text, new.document_id, new.url, new.target_words, new.target_ratio,
            coalesce(new.style, 'plain'), new.language, model.name, key, hash, bytes) returning * into stored;
  insert into private.job (id, request_id, owner, model_id, priority, rank, tag, run_at)
    values (stored.job_id, stored.id, me, model.id, coalesce(new.priority, 0), 2 * coalesce(new.priority, 0),
            private.next_tag(me, model, step), case when new.run_at > now() then new.run_at end);
  if new.run_at is null or new.run_at <= now() then perform private.ring(); end if;
  perform private.answer(202, stored.id, false);
  return private.request_row(stored.id);
end $$;


--
-- Name: FUNCTION insert_request(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.insert_request() IS 'Stores a request and its root job, or answers a replay. The owner comes from the verified token, never from the row.';


--
-- Name: job_is_sound(text, integer, timestamp with time zone, text, text, smallint, smallint, real); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.job_is_sound(state text, worker_id integer, finished_at timestamp with time zone, error_code text, kind text, priority smallint, rank smallint, progress real) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN ((state = ANY (ARRAY['ready'::text, 'running'::text, 'waiting'::text, 'done'::text, 'failed'::text, 'cancelled'::text])) AND ((state = 'running'::text) = (worker_id IS NOT NULL)) AND ((state = ANY (ARRAY['done'::text, 'failed'::text, 'cancelled'::text])) = (finished_at IS NOT NULL)) AND ((state <> 'failed'::text) OR (error_code IS NOT NULL)) AND (kind = ANY (ARRAY['root'::text, 'chunk'::text])) AND ((priority >= '-1'::integer) AND (priority <= 1)) AND (((rank - (2 * priority)) >= 0) AND ((rank - (2 * priority)) <= 1)) AND ((progress >= (0)::double precision) AND (progress <= (1)::double precision)));


--
-- Name: FUNCTION job_is_sound(state text, worker_id integer, finished_at timestamp with time zone, error_code text, kind text, priority smallint, rank smallint, progress real); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.job_is_sound(state text, worker_id integer, finished_at timestamp with time zone, error_code text, kind text, priority smallint, rank smallint, progress real) IS 'What checks of private.job would say. Theirs are parsed anew by each statement, which costs a claim and a finish a fifth.';


--
-- Name: jobs_of(uuid); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.jobs_of(request_id uuid) RETURNS bigint[]
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  select array(select r.job_id from private.request r where r.id = jobs_of.request_id
               union all
               select j.id from private.job j where j.request_id = jobs_of.request_id and j.kind <> 'root')
$$;


--
-- Name: FUNCTION jobs_of(request_id uuid); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.jobs_of(request_id uuid) IS 'The ids of all jobs of a request: the root job first, then those of its chunks.';


--
-- Name: lock_cursor(uuid); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.lock_cursor(owner uuid) RETURNS private.event_cursor
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET jit TO 'off'
    AS $$
declare
  first_block constant bigint := coalesce((select e.n >> 4 from private.event e where e.owner = lock_cursor.owner order by e.n desc limit 1), 0);
  found_row private.event_cursor;
begin
  -- Two of an account may wait for long. More would take everybody's connections for waiting.
  if not (pg_try_advisory_xact_lock(hashtext('precis.lock_cursor 1'), hashtext(lock_cursor.owner::text))
          or pg_try_advisory_xact_lock(hashtext('precis.lock_cursor 2'), hashtext(lock_cursor.owner::text))) then
    perform set_config('lock_timeout', '300ms', true);
  end if;
  select * into found_row from private.event_cursor c where c.owner = lock_cursor.owner and c.block >= first_block
     for no key update;
  return found_row;
exception when lock_not_available or deadlock_detected or query_canceled then
  perform gate.refuse_busy();
end $$;


--
-- Name: FUNCTION lock_cursor(owner uuid); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.lock_cursor(owner uuid) IS 'Waits for the lock on an owner''s event cursor; takes it after those on jobs, as workers do.';


--
-- Name: lock_own(uuid[], integer); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.lock_own(requests uuid[], changes integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  perform private.take_turn();
  perform from private.job j where j.id = any (array(select unnest(private.jobs_of(r)) from unnest(requests) r)) and j.owner = gate.uid()
    order by j.id for no key update;
  perform private.charge_changes(private.lock_cursor(gate.uid()), changes);
end $$;


--
-- Name: FUNCTION lock_own(requests uuid[], changes integer); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.lock_own(requests uuid[], changes integer) IS 'Locks what a change of these requests of the caller needs: their jobs in order, then the event cursor, as a finish does. Counts the changes.';


--
-- Name: log_job(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.log_job() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  changed record;
begin
  if tg_op = 'DELETE' then
    perform private.append_events('request', array_agg(o.owner), array_agg(null::uuid), array_agg(-1), null, true)
       from before_rows o where o.kind = 'root' and o.state = 'ready' having count(*) > 0;
    delete from private.attempt a where a.job_id = any (array(select o.id from before_rows o where o.epoch > 0));
    return null;
  end if;
  -- One look at the rows: each claim and each finish waits for it.
  if tg_op = 'INSERT' then
    select array_agg(n.owner) filter (where n.kind = 'root') as owners, array_agg(n.request_id) filter (where n.kind = 'root') as refs,
           array_agg((n.state = 'ready')::int) filter (where n.kind = 'root') as waits,
           array_agg(coalesce(r.bytes, 0)::bigint) filter (where n.kind = 'root') as sent, false as any_ended,
           min(n.id) filter (where not private.job_is_sound(n.state, n.worker_id, n.finished_at, n.error_code,
                                                                  n.kind, n.priority, n.rank, n.progress)) as unsound
      into changed
      from after_rows n left join lateral (select r.bytes from private.request r where r.id = n.request_id limit 1) r on true;
  else
    -- What a client cannot see is no event: leases, tags, progress of a stream.
    select array_agg(c.owner) filter (where c.seen) as owners, array_agg(c.request_id) filter (where c.seen) as refs,
           array_agg(c.waits) filter (where c.seen) as waits, null::bigint[] as sent, bool_or(c.ended) as any_ended,
           min(c.id) filter (where not c.sound) as unsound
      into changed
      from (select n.id, n.owner, n.request_id, (n.state = 'ready')::int - (o.state = 'ready')::int as waits,
                   -- The states as gate.request_state tells them apart, without a call of it for each row.
                   n.kind = 'root' and (case n.state when 'waiting' then 'running' else n.state end, n.priority, n.run_at)
                      is distinct from (case o.state when 'waiting' then 'running' else o.state end, o.priority, o.run_at) as seen,
                   o.state = 'running' and n.state in ('ready', 'done', 'failed', 'cancelled') as ended,
                   private.job_is_sound(n.state, n.worker_id, n.finished_at, n.error_code, n.kind, n.priority, n.rank, n.progress) as sound
              from after_rows n join before_rows o on o.id = n.id) c;
  end if;
  if changed.unsound is not null then
    raise exception 'job % would contradict itself', changed.unsound
      using errcode = 'check_violation', schema = tg_table_schema, table = tg_table_name, constraint = 'job_is_sound';
  end if;
  if changed.owners is not null then
    perform private.append_events('request', changed.owners, changed.refs, changed.waits, changed.sent, false);
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
  return null;
end $$;


--
-- Name: FUNCTION log_job(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.log_job() IS 'Refuses a job that contradicts itself. A root job changed in a way that a client can see, or its owner''s queue got longer or shorter, or an attempt at a job has ended.';


--
-- Name: log_request(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.log_request() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if tg_op = 'DELETE' then
    delete from private.job j where j.id = any (array(select o.job_id from before_rows o));
    delete from private.job j where j.request_id = any (array(select o.id from before_rows o)) and j.kind <> 'root';
    delete from private.result s where s.request_id = any (array(select o.id from before_rows o));  -- once nobody holds their jobs
    perform private.append_events('request', array_agg(o.owner), array_agg(o.id), null, null, true) from before_rows o;
  else
    perform private.append_events('request', array_agg(n.owner), array_agg(n.id), null, null, false) from after_rows n;
  end if;
  return null;
end $$;


--
-- Name: FUNCTION log_request(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.log_request() IS 'A title changed or a request is gone.';


--
-- Name: max_affected(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.max_affected() RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $_$
  select coalesce(min(said[1]::int), 100)
    from regexp_matches(gate.header('Prefer'), '(?:^|,)\s*max-affected\s*=\s*"?(\d{1,8})"?\s*(?=$|[,;])', 'gi') said
$_$;


--
-- Name: FUNCTION max_affected(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.max_affected() IS 'How many rows the client lets its request change: what it says with Prefer: max-affected (PostgREST''s own word from 13 on), or 100. Of several such headers only the last is seen.';


--
-- Name: model; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.model (
    id integer NOT NULL,
    name text NOT NULL,
    clock regclass NOT NULL,
    step bigint DEFAULT 1024 NOT NULL,
    is_default boolean DEFAULT false NOT NULL,
    paused_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT model_step_is_positive CHECK ((step > 0))
);


--
-- Name: TABLE model; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.model IS 'A model that requests can name. clock is its virtual time: a sequence, which no snapshot holds back and no lock slows.';


--
-- Name: next_tag(uuid, private.model, bigint); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.next_tag(owner uuid, model private.model, step bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
declare
  clock_now constant bigint := coalesce(pg_sequence_last_value(model.clock), 0);
  last_tag bigint;
begin
  -- Start-time fair queueing (sql/README.md, "Whose turn it is"). A tag is a turn of its owner on the model's clock; an owner's turns
  -- lie a step apart, so one of theirs at most stands before the first of somebody new, half a step behind the clock. Every way to
  -- become ready comes through here. The claim goes by tags and moves the clock; which row of the owner takes the turn, job.rank says.
  -- What is found below the clock has missed its turn, and comes through here again (private.chain_missed).
  select j.tag into last_tag from private.job j
   where j.state = 'ready' and j.run_at is null and j.owner = next_tag.owner and j.model_id = next_tag.model.id
     and (-j.tag) <= -clock_now
   order by (-j.tag) limit 1;
  if found then return last_tag + step; end if;
  return clock_now + step / 2;
end $$;


--
-- Name: FUNCTION next_tag(owner uuid, model private.model, step bigint); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.next_tag(owner uuid, model private.model, step bigint) IS 'The next turn of an owner: one step behind their last one, or half a step behind the clock. Needs the lock on the owner''s event cursor, and holds it up.';


--
-- Name: note_change(jsonb); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.note_change(change jsonb) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  select set_config('precis.changes', coalesce(current_setting('precis.changes', true), '') || change || chr(10), true)
$$;


--
-- Name: FUNCTION note_change(change jsonb); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.note_change(change jsonb) IS 'Keeps what is to be done to one row until all rows of the statement are known: their jobs are locked in one order, before the event cursor, as workers do.';


--
-- Name: open_event_cursor(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.open_event_cursor() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  insert into private.event_cursor (owner) values (new.id);
  return null;
end $$;


--
-- Name: FUNCTION open_event_cursor(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.open_event_cursor() IS 'Every account has its cursor row: a bump that finds none would be lost without a word.';


--
-- Name: pause(text); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.pause(model_name text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if model_name is null then
    update private.queue q set paused_at = coalesce(q.paused_at, now());
  else
    update private.model m set paused_at = coalesce(m.paused_at, now()) where m.name = model_name;
    if not found then perform gate.refuse(404, 'unknown_model', 'No model of that name is known here.'); end if;
  end if;
  perform private.tell('precis_control', 'models');
end $$;


--
-- Name: FUNCTION pause(model_name text); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.pause(model_name text) IS 'Nothing more is claimed, of the model or of all; what runs ends, what waits keeps its place. Requests are accepted as before.';


--
-- Name: refuse_empty_insert(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.refuse_empty_insert() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if current_setting('precis.answered', true) is distinct from 'yes' then
    perform gate.refuse(400, 'no_rows', 'The body holds no row. Send an object, or a list of objects.');
  end if;
  return null;
end $$;


--
-- Name: FUNCTION refuse_empty_insert(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.refuse_empty_insert() IS 'A body such as null, [] or "text" is no row to PostgREST, which would answer 201 and keep nothing.';


--
-- Name: refuse_quota(text, text, integer); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.refuse_quota(code text, message text, seconds integer) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  select gate.refuse(429, code, message, 'GET /usage shows what is left.', jsonb_build_object('Retry-After', seconds::text))
$$;


--
-- Name: FUNCTION refuse_quota(code text, message text, seconds integer); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.refuse_quota(code text, message text, seconds integer) IS 'Refuses for now, and says when to come back.';


--
-- Name: refuse_read_only(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.refuse_read_only() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  perform gate.refuse(422, 'read_only_column', 'Of a request that is there only title, priority and run_at can be changed. Leave out the rest.',
                      'POST /rpc/cancel and POST /rpc/retry change its state; for another text send a new request.');
  return null;
end $$;


--
-- Name: FUNCTION refuse_read_only(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.refuse_read_only() IS 'Refuses an UPDATE that names a column which clients may not change, whatever value it gives.';


--
-- Name: refuse_waiting(integer); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.refuse_waiting(most integer) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
  select private.refuse_quota('too_many_waiting',
    format('As many of your requests are waiting as may: %s. Send more when some of them have begun.', most), 30)
$$;


--
-- Name: FUNCTION refuse_waiting(most integer); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.refuse_waiting(most integer) IS 'Refuses because too many requests of the account would wait.';


--
-- Name: refuse_write(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.refuse_write() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  raise insufficient_privilege using message = format('%I can be read only.', tg_table_name);
end $$;


--
-- Name: FUNCTION refuse_write(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.refuse_write() IS 'Stands behind views that nobody may write. Without a trigger Postgres says that it cannot, before it asks who may, and PostgREST makes a 500 of that.';


--
-- Name: replay_request(private.request, bytea); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.replay_request(stored private.request, hash bytea) RETURNS public.requests
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  if stored.body_hash <> hash then
    perform gate.refuse(422, 'idempotency_key_reused',
      'This Idempotency-Key belongs to another request of yours. Use a new key for a new request.');
  end if;
  perform private.answer(200, stored.id, true);
  return private.request_row(stored.id);
end $$;


--
-- Name: FUNCTION replay_request(stored private.request, hash bytea); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.replay_request(stored private.request, hash bytea) IS 'Answers a key that was seen before: the same row for the same body.';


--
-- Name: request_row(uuid); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.request_row(request_id uuid) RETURNS public.requests
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
  select r.id, r.title, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style, r.language, r.model,
         j.priority, j.run_at, gate.request_state(j.state), j.progress, s.body, s.checks, s.engine,
         case when j.state = 'failed' then j.error_code end, case when j.state = 'failed' then j.error_message end,
         r.created_at, j.updated_at, j.finished_at
    from private.request r join private.job j on j.id = r.job_id
    left join private.result s on s.request_id = r.id
   where r.id = request_row.request_id
$$;


--
-- Name: FUNCTION request_row(request_id uuid); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.request_row(request_id uuid) IS 'The row as its owner sees it.';


--
-- Name: resolve_model(text); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.resolve_model(asked text) RETURNS private.model
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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


--
-- Name: FUNCTION resolve_model(asked text); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.resolve_model(asked text) IS 'The model that a request names, or the default.';


--
-- Name: resume(text); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.resume(model_name text DEFAULT NULL::text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  if model_name is null then
    update private.queue q set paused_at = null;
  else
    update private.model m set paused_at = null where m.name = model_name;
    if not found then perform gate.refuse(404, 'unknown_model', 'No model of that name is known here.'); end if;
  end if;
  perform private.tell('precis_control', 'models');
end $$;


--
-- Name: FUNCTION resume(model_name text); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.resume(model_name text) IS 'Ends a pause. A model that was paused by itself stays so when all is resumed.';


--
-- Name: retry(uuid); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.retry(request_id uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  job private.job;
begin
  perform private.take_turn(r.owner) from private.request r where r.id = retry.request_id;
  select j.* into job from private.request r join private.job j on j.id = r.job_id
   where r.id = retry.request_id for no key update of j;
  if not found then perform gate.refuse(404, 'request_not_found', 'There is no request with this id.'); end if;
  if job.state not in ('failed', 'cancelled') then
    perform gate.refuse(409, 'not_failed', 'Only a failed or cancelled request can be tried again.');
  end if;
  update private.job j set state = 'ready', attempts = 0, run_at = null, progress = 0, error_code = null, error_message = null,
         started_at = null, tag = private.fair_tag(j.owner, j.model_id), updated_at = now(), finished_at = null
   where j.id = job.id;
  perform private.ring();
end $$;


--
-- Name: FUNCTION retry(request_id uuid); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.retry(request_id uuid) IS 'Queues a failed or cancelled request again, whoever''s it is.';


--
-- Name: ring(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.ring() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
  lock table private.bell in row exclusive mode nowait;
exception when lock_not_available then
  perform private.tell('precis_bell', ''), nextval('private.rings');
end $$;


--
-- Name: FUNCTION ring(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.ring() IS 'Called by whatever makes a job ready. Rings only if a worker is hungry or about to be: NOTIFY takes a global lock at commit.';


--
-- Name: session; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.session (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    account_id uuid NOT NULL,
    generation integer DEFAULT 0 NOT NULL,
    rotated_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    authenticated_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    idle_expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    revoke_reason text,
    amr text[] DEFAULT '{pwd}'::text[] NOT NULL,
    aal smallint DEFAULT 1 NOT NULL,
    ip_prefix inet,
    user_agent text,
    CONSTRAINT session_says_why_it_was_revoked CHECK (((revoked_at IS NULL) = (revoke_reason IS NULL))),
    CONSTRAINT session_user_agent_is_short CHECK ((char_length(user_agent) <= 200))
)
WITH (fillfactor='70');


--
-- Name: TABLE session; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.session IS 'One sign-in: a refresh token family. generation counts its rotations.';


--
-- Name: session_fault(private.session, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.session_fault(session private.session, banned_at timestamp with time zone, password_changed_at timestamp with time zone) RETURNS text
    LANGUAGE sql
    RETURN CASE WHEN (((session).revoked_at IS NOT NULL) OR (banned_at IS NOT NULL) OR (password_changed_at > (session).authenticated_at)) THEN 'revoked'::text WHEN (clock_timestamp() >= LEAST((session).expires_at, (session).idle_expires_at)) THEN 'expired'::text ELSE NULL::text END;


--
-- Name: FUNCTION session_fault(session private.session, banned_at timestamp with time zone, password_changed_at timestamp with time zone); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.session_fault(session private.session, banned_at timestamp with time zone, password_changed_at timestamp with time zone) IS 'Why a session speaks for its account no more, null if it does; the times are the account''s. The one place that knows: refreshing, listing and ending ask it, and so does every request and stream.';


--
-- Name: step_of(private.model, private.allowance); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.step_of(model private.model, allowed private.allowance) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN (GREATEST((2)::double precision, (((model).step)::double precision / COALESCE((allowed).weight, (1)::real))))::bigint;


--
-- Name: FUNCTION step_of(model private.model, allowed private.allowance); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.step_of(model private.model, allowed private.allowance) IS 'How far apart the tags of an owner''s jobs are: shorter for an owner of more weight.';


--
-- Name: take_turn(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.take_turn() RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$ select private.take_turn(gate.uid()) $$;


--
-- Name: FUNCTION take_turn(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.take_turn() IS 'The turn of whoever is signed in.';


--
-- Name: take_turn(uuid); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.take_turn(owner uuid) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$ select pg_advisory_xact_lock(hashtextextended('precis.take_turn ' || owner, 0)) $$;


--
-- Name: FUNCTION take_turn(owner uuid); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.take_turn(owner uuid) IS 'Changes to the rows of one account wait for each other here: two statements over several of them would lock jobs and the event cursor crosswise. Workers do not pass here; they give way and try again.';


--
-- Name: tell(text, text); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.tell(channel text, payload text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- Somebody who listens inside an open transaction keeps the queue from being emptied. Once it is full, every commit that
  -- notifies fails: a client's insert as well. Nobody can catch that, since it happens at the commit itself.
  if pg_notification_queue_usage() > 0.9 then return false; end if;
  perform pg_notify(channel, payload);
  return true;
end $$;


--
-- Name: FUNCTION tell(channel text, payload text); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.tell(channel text, payload text) IS 'NOTIFY, unless the queue is nearly full: whether it was said. A notice only means "look", and everybody who waits for one also looks by themselves.';


--
-- Name: tell_streams(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.tell_streams() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  -- Always, watched or not: it is rare, and a stream that is just opening must not fall between.
  perform private.tell('precis_event', case tg_table_name when 'session' then to_jsonb(old) ->> 'account_id'
                                                       else to_jsonb(old) ->> 'id' end || ':0');
  return null;
end $$;


--
-- Name: FUNCTION tell_streams(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.tell_streams() IS 'A session ended, an account was banned or got another password: its open streams are to ask the gate again, and close, within the second.';


--
-- Name: update_request(); Type: FUNCTION; Schema: private; Owner: -
--

CREATE FUNCTION private.update_request() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
  change jsonb := '{}';
begin
  perform private.count_rows();
  if (new.priority, new.run_at) is distinct from (old.priority, old.run_at) then
    new.priority := coalesce(new.priority, 0::smallint);
    perform private.check_request(new);
    change := jsonb_build_object('priority', new.priority);
    -- What the person left alone keeps its newest value: a worker may write it until the job is locked.
    if new.run_at is distinct from old.run_at then change := change || jsonb_build_object('run_at', new.run_at); end if;
    if new.run_at <= now() then new.run_at := null; end if;
    new.updated_at := now();
  end if;
  if new.title is distinct from old.title then
    if char_length(new.title) > 300 then
      perform gate.refuse(422, 'title_too_long', 'A title has at most 300 characters.');
    end if;
    change := change || jsonb_build_object('title', new.title);
  end if;
  if change <> '{}' then perform private.note_change(change || jsonb_build_object('id', old.id)); end if;
  return new;
end $$;


--
-- Name: FUNCTION update_request(); Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON FUNCTION private.update_request() IS 'Checks and notes what a person may change, the title, and priority and time while queued, to be done once all rows are known.';


--
-- Name: cancel(uuid); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.cancel(id uuid) RETURNS SETOF public.requests
    LANGUAGE plpgsql ROWS 1
    SET search_path TO ''
    AS $$
begin
  perform gate.cancel(cancel.id);
  return query select r.* from public.requests r where r.id = cancel.id;
end $$;


--
-- Name: FUNCTION cancel(id uuid); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.cancel(id uuid) IS 'Stops a queued or running request and closes its model call. Cancelling twice is no error.';


--
-- Name: clear(text); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.clear(state text) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
  return gate.clear(clear.state);
end $$;


--
-- Name: FUNCTION clear(state text); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.clear(state text) IS 'Cancels your requests that are queued or running, or deletes those that are done, failed or cancelled: a batch in each call. Answers how many were cleared, and how many are left: call it until none is.';


--
-- Name: retry(uuid); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.retry(id uuid) RETURNS SETOF public.requests
    LANGUAGE plpgsql ROWS 1
    SET search_path TO ''
    AS $$
begin
  perform gate.retry(retry.id);
  return query select r.* from public.requests r where r.id = retry.id;
end $$;


--
-- Name: FUNCTION retry(id uuid); Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON FUNCTION public.retry(id uuid) IS 'Queues a failed or cancelled request again.';


--
-- Name: schema_migrations; Type: TABLE; Schema: dbmate; Owner: -
--

CREATE TABLE dbmate.schema_migrations (
    version character varying NOT NULL
);


--
-- Name: event; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.event (
    owner uuid NOT NULL,
    n bigint NOT NULL,
    kind text NOT NULL,
    ref uuid NOT NULL,
    gone boolean DEFAULT false NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE event; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.event IS 'Something that a client can see has changed: re-read ref, or drop it if gone.';


--
-- Name: event; Type: VIEW; Schema: gate; Owner: -
--

CREATE VIEW gate.event WITH (security_invoker='true') AS
 SELECT n,
    kind,
    ref,
    gone,
    at
   FROM private.event e;


--
-- Name: VIEW event; Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON VIEW gate.event IS 'The event log of the account that is signed in. For event streams; not exposed.';


--
-- Name: event_cursor; Type: VIEW; Schema: gate; Owner: -
--

CREATE VIEW gate.event_cursor WITH (security_invoker='true') AS
 SELECT n,
    min_n
   FROM private.event_cursor c;


--
-- Name: VIEW event_cursor; Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON VIEW gate.event_cursor IS 'How far the event log of the account that is signed in goes.';


--
-- Name: partial; Type: TABLE; Schema: private; Owner: -
--

CREATE UNLOGGED TABLE private.partial (
    request_id uuid NOT NULL,
    epoch bigint NOT NULL,
    n integer NOT NULL,
    owner uuid NOT NULL,
    text text NOT NULL
);


--
-- Name: TABLE partial; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.partial IS 'Text so far, piece by piece. A preview: unlogged, gone when the request ends.';


--
-- Name: partial; Type: VIEW; Schema: gate; Owner: -
--

CREATE VIEW gate.partial WITH (security_invoker='true') AS
 SELECT p.request_id,
    p.epoch,
    p.n,
    p.text
   FROM ((private.partial p
     JOIN private.request r ON ((r.id = p.request_id)))
     JOIN private.job j ON (((j.id = r.job_id) AND (j.epoch = p.epoch) AND (j.state = 'running'::text))));


--
-- Name: VIEW partial; Type: COMMENT; Schema: gate; Owner: -
--

COMMENT ON VIEW gate.partial IS 'Text so far of the running requests of the account that is signed in, piece by piece. For event streams; not exposed.';


--
-- Name: account; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.account (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email text NOT NULL,
    email_key text NOT NULL,
    password_hash text,
    password_changed_at timestamp with time zone,
    email_verified_at timestamp with time zone,
    banned_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT account_email_is_short CHECK (((char_length(email) <= 320) AND (char_length(email_key) <= 320)))
);


--
-- Name: TABLE account; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.account IS 'A person. email is what was typed, email_key its normal form.';


--
-- Name: attempt; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.attempt (
    job_id bigint NOT NULL,
    epoch bigint NOT NULL,
    request_id uuid NOT NULL,
    owner uuid NOT NULL,
    worker_id integer NOT NULL,
    worker text,
    claimed_at timestamp with time zone,
    ended_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    outcome text NOT NULL,
    error_code text,
    error_message text,
    CONSTRAINT attempt_outcome_is_known CHECK ((outcome = ANY (ARRAY['done'::text, 'failed'::text, 'cancelled'::text, 'retried'::text, 'released'::text, 'rescued'::text])))
);


--
-- Name: TABLE attempt; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.attempt IS 'One row for each claim that has ended, however it did: written by the trigger on job, so that no way out can forget it. Goes with its request.';


--
-- Name: COLUMN attempt.outcome; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.attempt.outcome IS 'done, failed, cancelled; retried: it failed and was queued again; released: its worker gave it back; rescued: its worker died.';


--
-- Name: audit; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.audit (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    event text NOT NULL,
    account_id uuid,
    session_id uuid,
    ip_prefix inet,
    request_id text,
    detail text
);


--
-- Name: TABLE audit; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.audit IS 'What happened to accounts and sessions. Append only; no secret, no address in clear.';


--
-- Name: audit_id_seq; Type: SEQUENCE; Schema: private; Owner: -
--

ALTER TABLE private.audit ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME private.audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: bell; Type: VIEW; Schema: private; Owner: -
--

CREATE VIEW private.bell WITH (security_invoker='true') AS
 SELECT true AS hungry;


--
-- Name: VIEW bell; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON VIEW private.bell IS 'The doorbell. A worker with a free slot and nothing to do holds its SHARE lock; who makes a job ready and finds it taken rings. Nothing to read: a view, since VACUUM and ANALYZE of a table would wait for that lock as long as anybody is hungry.';


--
-- Name: event_incarnation; Type: TABLE; Schema: private; Owner: -
--

CREATE UNLOGGED TABLE private.event_incarnation (
    only_row boolean DEFAULT true NOT NULL,
    nonce uuid DEFAULT gen_random_uuid() NOT NULL,
    epoch_floor bigint DEFAULT 0 NOT NULL,
    CONSTRAINT event_incarnation_has_one_row CHECK (only_row)
);


--
-- Name: TABLE event_incarnation; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.event_incarnation IS 'Emptied by Postgres itself after a crash and on a standby that takes over, which may have lost commits that did not wait for the disk; whoever finds no row begins a new one. The ids of events begin with what depends on the nonce.';


--
-- Name: COLUMN event_incarnation.epoch_floor; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.event_incarnation.epoch_floor IS 'No claim draws a lower epoch, and without the row there is none: what a crash has lost is never drawn again.';


--
-- Name: event_ticket; Type: TABLE; Schema: private; Owner: -
--

CREATE UNLOGGED TABLE private.event_ticket (
    hash bytea NOT NULL,
    claims jsonb NOT NULL,
    expires_at timestamp with time zone NOT NULL
);


--
-- Name: TABLE event_ticket; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.event_ticket IS 'Single-use keys that open a stream where no header can be sent.';


--
-- Name: host; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.host (
    id integer NOT NULL,
    url text NOT NULL,
    version text,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE host; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.host IS 'A model server.';


--
-- Name: host_id_seq; Type: SEQUENCE; Schema: private; Owner: -
--

ALTER TABLE private.host ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME private.host_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: host_model; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.host_model (
    host_id integer NOT NULL,
    model_id integer NOT NULL,
    digest text NOT NULL,
    family text DEFAULT ''::text NOT NULL,
    context_tokens integer NOT NULL,
    capabilities text[] DEFAULT '{}'::text[] NOT NULL,
    available boolean DEFAULT true NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: TABLE host_model; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.host_model IS 'Which host serves which model, as it answered a listener.';


--
-- Name: model_id_seq; Type: SEQUENCE; Schema: private; Owner: -
--

ALTER TABLE private.model ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME private.model_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: queue; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.queue (
    only_row boolean DEFAULT true NOT NULL,
    paused_at timestamp with time zone,
    generation bigint DEFAULT 0 NOT NULL,
    CONSTRAINT queue_has_one_row CHECK (only_row)
);


--
-- Name: TABLE queue; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.queue IS 'The switch of the whole queue: while paused_at is set, nobody claims.';


--
-- Name: COLUMN queue.generation; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.queue.generation IS 'Which incarnation of the server this is, by private.begin_incarnation().';


--
-- Name: rate_bucket; Type: TABLE; Schema: private; Owner: -
--

CREATE UNLOGGED TABLE private.rate_bucket (
    key bytea NOT NULL,
    tokens double precision NOT NULL,
    refilled_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='50');


--
-- Name: TABLE rate_bucket; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.rate_bucket IS 'Token buckets of the rate limits. Keys are HMACs. Lost in a crash, on purpose.';


--
-- Name: rings; Type: SEQUENCE; Schema: private; Owner: -
--

CREATE SEQUENCE private.rings
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: SEQUENCE rings; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON SEQUENCE private.rings IS 'Counts how often the doorbell was rung: no table, so that inserts need not wait for each other. pg_sequence_last_value is the count, null before the first.';


--
-- Name: signing_key; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.signing_key (
    kid text NOT NULL,
    public_jwk jsonb NOT NULL,
    private_key bytea NOT NULL,
    state text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    activated_at timestamp with time zone,
    retired_at timestamp with time zone,
    CONSTRAINT signing_key_is_ed25519 CHECK (COALESCE((((public_jwk ->> 'kty'::text) = 'OKP'::text) AND ((public_jwk ->> 'crv'::text) = 'Ed25519'::text) AND ((public_jwk ->> 'alg'::text) = 'EdDSA'::text) AND ((public_jwk ->> 'use'::text) = 'sig'::text) AND ((public_jwk ->> 'kid'::text) = kid) AND (kid ~ '^[A-Za-z0-9_-]{43}$'::text) AND ((public_jwk ->> 'x'::text) ~ '^[A-Za-z0-9_-]{43}$'::text) AND ((public_jwk - ARRAY['kty'::text, 'crv'::text, 'x'::text, 'kid'::text, 'alg'::text, 'use'::text]) = '{}'::jsonb)), false)),
    CONSTRAINT signing_key_state_is_known CHECK ((state = ANY (ARRAY['next'::text, 'active'::text, 'retiring'::text])))
);


--
-- Name: TABLE signing_key; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.signing_key IS 'Keys that sign access tokens. private_key is encrypted by authsvc.';


--
-- Name: slot; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.slot (
    host_id integer NOT NULL,
    model_id integer NOT NULL,
    n integer NOT NULL,
    worker_id integer,
    incarnation bigint
);


--
-- Name: TABLE slot; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.slot IS 'One allowed parallel call of a model on a host. Leased to a worker, not to a job.';


--
-- Name: token_issuer; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.token_issuer (
    only_row boolean DEFAULT true NOT NULL,
    issuer text NOT NULL,
    audience text NOT NULL,
    CONSTRAINT token_issuer_has_one_row CHECK (only_row)
);


--
-- Name: TABLE token_issuer; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.token_issuer IS 'What iss and aud of our tokens must be. Written by authsvc when it starts.';


--
-- Name: worker; Type: TABLE; Schema: private; Owner: -
--

CREATE TABLE private.worker (
    id integer NOT NULL,
    incarnation bigint DEFAULT 1 NOT NULL,
    name text NOT NULL,
    version text NOT NULL,
    lease_until timestamp with time zone NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    draining boolean DEFAULT false NOT NULL,
    models integer[] DEFAULT '{}'::integer[] NOT NULL,
    renewals bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');


--
-- Name: TABLE worker; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON TABLE private.worker IS 'One running listener and its lease. A rescue counts incarnation up: what the old incarnation still writes changes nothing.';


--
-- Name: COLUMN worker.lease_until; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.worker.lease_until IS 'For people to read; nobody is judged by it. -infinity: fenced, it claims nothing more.';


--
-- Name: COLUMN worker.models; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.worker.models IS 'What it can reach now: workers share the slots of a model among those that serve it.';


--
-- Name: COLUMN worker.renewals; Type: COMMENT; Schema: private; Owner: -
--

COMMENT ON COLUMN private.worker.renewals IS 'Counts its heartbeats. Others judge it by seeing the same number for too long by their own clocks: the server''s may jump.';


--
-- Name: worker_id_seq; Type: SEQUENCE; Schema: private; Owner: -
--

ALTER TABLE private.worker ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME private.worker_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: attempts; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.attempts WITH (security_invoker='true') AS
 SELECT request_id,
    epoch AS n,
    claimed_at AS started_at,
    ended_at,
    outcome,
    error_code,
    gate.metered(error_message, 'error_message'::text) AS error_message
   FROM private.attempt a
  WHERE (gate.is_fair() AND
        CASE
            WHEN (clock_timestamp() > (statement_timestamp() + '00:00:00.1'::interval)) THEN gate.is_let_work(request_id)
            ELSE true
        END);


--
-- Name: VIEW attempts; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.attempts IS 'What was tried for your requests: one row for each attempt that has ended.';


--
-- Name: COLUMN attempts.request_id; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.attempts.request_id IS 'The request.';


--
-- Name: COLUMN attempts.n; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.attempts.n IS 'Counts the attempts at the request; one that was under way when it was looked at is missing.';


--
-- Name: COLUMN attempts.started_at; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.attempts.started_at IS 'When a worker took it.';


--
-- Name: COLUMN attempts.ended_at; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.attempts.ended_at IS 'When it ended.';


--
-- Name: COLUMN attempts.outcome; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.attempts.outcome IS 'done, failed, cancelled; retried: it failed and was queued again; released: the worker was stopped and gave it back; rescued: the worker died.';


--
-- Name: COLUMN attempts.error_code; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.attempts.error_code IS 'A stable word, if it failed.';


--
-- Name: COLUMN attempts.error_message; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.attempts.error_message IS 'What happened, if it failed.';


--
-- Name: models; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.models WITH (security_invoker='true') AS
 SELECT m.name,
    m.is_default,
        CASE
            WHEN bool_or((h.family = 'extractive'::text)) THEN 'extractive'::text
            ELSE 'ollama'::text
        END AS engine,
    max(h.context_tokens) AS context_tokens,
    ARRAY( SELECT DISTINCT c.c
           FROM private.host_model x,
            LATERAL unnest(x.capabilities) c(c)
          WHERE (x.model_id = m.id)
          ORDER BY c.c) AS capabilities,
    (COALESCE(bool_or(h.available), false) AND (m.paused_at IS NULL)) AS available
   FROM (private.model m
     LEFT JOIN private.host_model h ON ((h.model_id = m.id)))
  WHERE gate.is_fair()
  GROUP BY m.id, m.name, m.is_default, m.paused_at;


--
-- Name: VIEW models; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.models IS 'The models that a request can name. Everybody may read them.';


--
-- Name: COLUMN models.name; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.models.name IS 'What to put into requests.model.';


--
-- Name: COLUMN models.is_default; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.models.is_default IS 'Whether it is taken where a request names no model.';


--
-- Name: COLUMN models.engine; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.models.engine IS 'ollama: a language model writes the text. extractive: sentences are copied from the source.';


--
-- Name: COLUMN models.context_tokens; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.models.context_tokens IS 'The longest input and output together, in tokens.';


--
-- Name: COLUMN models.capabilities; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.models.capabilities IS 'What the model server says the model can do.';


--
-- Name: COLUMN models.available; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.models.available IS 'Whether a model server answers for it now. Requests for one that is not wait.';


--
-- Name: partials; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.partials WITH (security_invoker='true') AS
 SELECT p.request_id,
    p.epoch,
    gate.metered(( SELECT string_agg(q.text, ''::text ORDER BY q.n) AS string_agg
           FROM private.partial q
          WHERE ((q.request_id = p.request_id) AND (q.epoch = p.epoch))), 'text'::text) AS text,
    p.n
   FROM ((( SELECT partial.request_id,
            partial.epoch,
            max(partial.n) AS n
           FROM private.partial
          GROUP BY partial.request_id, partial.epoch) p
     JOIN private.request r ON ((r.id = p.request_id)))
     JOIN private.job j ON (((j.id = r.job_id) AND (j.epoch = p.epoch) AND (j.state = 'running'::text))))
  WHERE gate.is_fair();


--
-- Name: VIEW partials; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.partials IS 'The text so far of your running requests, for clients without a stream.';


--
-- Name: COLUMN partials.request_id; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.partials.request_id IS 'The running request.';


--
-- Name: COLUMN partials.epoch; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.partials.epoch IS 'Which attempt wrote it: if it changes, the text starts anew.';


--
-- Name: COLUMN partials.text; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.partials.text IS 'The text so far.';


--
-- Name: COLUMN partials.n; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.partials.n IS 'How many pieces it came in.';


--
-- Name: usage; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.usage WITH (security_invoker='true') AS
 SELECT c.waiting AS requests_waiting,
    a.requests_waiting AS requests_waiting_limit,
    t.requests AS requests_today,
    a.requests_per_day AS requests_per_day_limit,
    t.bytes AS bytes_today,
    a.bytes_per_day AS bytes_per_day_limit,
        CASE
            WHEN (a.requests_waiting IS NOT NULL) THEN GREATEST(0, (a.requests_waiting - c.waiting))
            ELSE NULL::integer
        END AS requests_waiting_left,
        CASE
            WHEN (a.requests_per_day IS NOT NULL) THEN GREATEST(0, (a.requests_per_day - t.requests))
            ELSE NULL::integer
        END AS requests_left,
        CASE
            WHEN (a.bytes_per_day IS NOT NULL) THEN GREATEST((0)::bigint, (a.bytes_per_day - t.bytes))
            ELSE NULL::bigint
        END AS bytes_left,
    (((((now() AT TIME ZONE 'UTC'::text))::date + 1))::timestamp without time zone AT TIME ZONE 'UTC'::text) AS day_ends_at,
    a.changes_per_minute AS changes_per_minute_limit,
    (floor(((a.changes_per_minute)::numeric * LEAST((1)::numeric, ((1)::numeric - (EXTRACT(epoch FROM (GREATEST(c.changes_until, now()) - now())) / (60)::numeric))))))::integer AS changes_left
   FROM ((private.event_cursor c
     CROSS JOIN gate.allowance() a(owner, requests_per_day, bytes_per_day, requests_waiting, changes_per_minute, weight))
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN (c.day >= ((now() AT TIME ZONE 'UTC'::text))::date) THEN c.day_requests
                    ELSE 0
                END AS requests,
                CASE
                    WHEN (c.day >= ((now() AT TIME ZONE 'UTC'::text))::date) THEN c.day_bytes
                    ELSE (0)::bigint
                END AS bytes) t)
  WHERE gate.is_fair();


--
-- Name: VIEW usage; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON VIEW public.usage IS 'What you have used of your quotas and what is left: one row. Null in a limit, and in what is left of it, is no limit.';


--
-- Name: COLUMN usage.requests_waiting; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.requests_waiting IS 'How many of your requests are queued now, scheduled ones included.';


--
-- Name: COLUMN usage.requests_waiting_limit; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.requests_waiting_limit IS 'How many may be queued at a time.';


--
-- Name: COLUMN usage.requests_today; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.requests_today IS 'How many requests you have sent today (UTC), and how often you have had one tried again.';


--
-- Name: COLUMN usage.requests_per_day_limit; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.requests_per_day_limit IS 'How many you may send in a day.';


--
-- Name: COLUMN usage.bytes_today; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.bytes_today IS 'How many bytes you have sent today (UTC), of the text and all other columns.';


--
-- Name: COLUMN usage.bytes_per_day_limit; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.bytes_per_day_limit IS 'How many you may send in a day.';


--
-- Name: COLUMN usage.requests_waiting_left; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.requests_waiting_left IS 'How many more may be queued now.';


--
-- Name: COLUMN usage.requests_left; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.requests_left IS 'How many more requests you may send today.';


--
-- Name: COLUMN usage.bytes_left; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.bytes_left IS 'How many more bytes you may send today.';


--
-- Name: COLUMN usage.day_ends_at; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.day_ends_at IS 'When the daily quotas are whole again.';


--
-- Name: COLUMN usage.changes_per_minute_limit; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.changes_per_minute_limit IS 'How many requests you may change, cancel, try again or delete in a minute.';


--
-- Name: COLUMN usage.changes_left; Type: COMMENT; Schema: public; Owner: -
--

COMMENT ON COLUMN public.usage.changes_left IS 'How many of them you may now.';


--
-- Name: schema_migrations schema_migrations_pkey; Type: CONSTRAINT; Schema: dbmate; Owner: -
--

ALTER TABLE ONLY dbmate.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);


--
-- Name: account account_email_is_unique; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.account
    ADD CONSTRAINT account_email_is_unique UNIQUE (email_key);


--
-- Name: account account_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (id);


--
-- Name: allowance allowance_owner_is_unique; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.allowance
    ADD CONSTRAINT allowance_owner_is_unique UNIQUE NULLS NOT DISTINCT (owner);


--
-- Name: attempt attempt_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (job_id, epoch);


--
-- Name: audit audit_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);


--
-- Name: event_cursor event_cursor_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.event_cursor
    ADD CONSTRAINT event_cursor_pkey PRIMARY KEY (owner, block);


--
-- Name: event_incarnation event_incarnation_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.event_incarnation
    ADD CONSTRAINT event_incarnation_pkey PRIMARY KEY (only_row);


--
-- Name: event event_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (owner, n);


--
-- Name: event_ticket event_ticket_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.event_ticket
    ADD CONSTRAINT event_ticket_pkey PRIMARY KEY (hash);


--
-- Name: host_model host_model_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.host_model
    ADD CONSTRAINT host_model_pkey PRIMARY KEY (host_id, model_id);


--
-- Name: host host_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.host
    ADD CONSTRAINT host_pkey PRIMARY KEY (id);


--
-- Name: host host_url_is_unique; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.host
    ADD CONSTRAINT host_url_is_unique UNIQUE (url);


--
-- Name: job job_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.job
    ADD CONSTRAINT job_pkey PRIMARY KEY (id);


--
-- Name: model model_name_is_unique; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.model
    ADD CONSTRAINT model_name_is_unique UNIQUE (name);


--
-- Name: model model_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.model
    ADD CONSTRAINT model_pkey PRIMARY KEY (id);


--
-- Name: partial partial_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.partial
    ADD CONSTRAINT partial_pkey PRIMARY KEY (request_id, epoch, n);


--
-- Name: queue queue_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.queue
    ADD CONSTRAINT queue_pkey PRIMARY KEY (only_row);


--
-- Name: rate_bucket rate_bucket_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.rate_bucket
    ADD CONSTRAINT rate_bucket_pkey PRIMARY KEY (key);


--
-- Name: request request_key_is_unique_to_its_owner; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.request
    ADD CONSTRAINT request_key_is_unique_to_its_owner UNIQUE (owner, idempotency_key);


--
-- Name: request request_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.request
    ADD CONSTRAINT request_pkey PRIMARY KEY (id);


--
-- Name: result result_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.result
    ADD CONSTRAINT result_pkey PRIMARY KEY (request_id);


--
-- Name: session session_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.session
    ADD CONSTRAINT session_pkey PRIMARY KEY (id);


--
-- Name: signing_key signing_key_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.signing_key
    ADD CONSTRAINT signing_key_pkey PRIMARY KEY (kid);


--
-- Name: slot slot_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.slot
    ADD CONSTRAINT slot_pkey PRIMARY KEY (host_id, model_id, n);


--
-- Name: token_issuer token_issuer_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.token_issuer
    ADD CONSTRAINT token_issuer_pkey PRIMARY KEY (only_row);


--
-- Name: worker worker_pkey; Type: CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.worker
    ADD CONSTRAINT worker_pkey PRIMARY KEY (id);


--
-- Name: attempt_owner_request_id_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX attempt_owner_request_id_idx ON private.attempt USING btree (owner, request_id);


--
-- Name: audit_account_id_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX audit_account_id_idx ON private.audit USING btree (account_id, at);


--
-- Name: event_at_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX event_at_idx ON private.event USING btree (at);


--
-- Name: event_ticket_expires_at_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX event_ticket_expires_at_idx ON private.event_ticket USING btree (expires_at);


--
-- Name: host_model_model_id_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX host_model_model_id_idx ON private.host_model USING btree (model_id);


--
-- Name: job_ahead_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX job_ahead_idx ON private.job USING btree (model_id, rank) WHERE ((state = 'ready'::text) AND (run_at IS NULL) AND (rank > 0));


--
-- Name: job_chunk_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX job_chunk_idx ON private.job USING btree (request_id) WHERE (kind <> 'root'::text);


--
-- Name: job_due_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX job_due_idx ON private.job USING btree (run_at) WHERE ((state = 'ready'::text) AND (run_at IS NOT NULL));


--
-- Name: job_finished_at_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX job_finished_at_idx ON private.job USING btree (finished_at) WHERE (finished_at IS NOT NULL);


--
-- Name: job_own_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX job_own_idx ON private.job USING btree (owner, model_id, rank, ((- tag))) WHERE ((state = 'ready'::text) AND (run_at IS NULL));


--
-- Name: job_ready_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX job_ready_idx ON private.job USING btree (model_id, tag, id) WHERE ((state = 'ready'::text) AND (run_at IS NULL));


--
-- Name: job_turn_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX job_turn_idx ON private.job USING btree (owner, model_id, ((- tag))) WHERE ((state = 'ready'::text) AND (run_at IS NULL));


--
-- Name: job_worker_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX job_worker_idx ON private.job USING btree (worker_id) WHERE (state = 'running'::text);


--
-- Name: model_default_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE UNIQUE INDEX model_default_idx ON private.model USING btree (is_default) WHERE is_default;


--
-- Name: partial_owner_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX partial_owner_idx ON private.partial USING btree (owner);


--
-- Name: rate_bucket_refilled_at_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX rate_bucket_refilled_at_idx ON private.rate_bucket USING btree (refilled_at);


--
-- Name: request_owner_created_at_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX request_owner_created_at_idx ON private.request USING btree (owner, created_at DESC);


--
-- Name: session_account_id_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX session_account_id_idx ON private.session USING btree (account_id, created_at);


--
-- Name: signing_key_active_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE UNIQUE INDEX signing_key_active_idx ON private.signing_key USING btree (state) WHERE (state = 'active'::text);


--
-- Name: slot_worker_id_idx; Type: INDEX; Schema: private; Owner: -
--

CREATE INDEX slot_worker_id_idx ON private.slot USING btree (worker_id, model_id);


--
-- Name: account account_change_is_told; Type: TRIGGER; Schema: private; Owner: -
--

CREATE TRIGGER account_change_is_told AFTER UPDATE OF banned_at, password_changed_at ON private.account FOR EACH ROW EXECUTE FUNCTION private.tell_streams();


--
-- Name: account account_opens_event_cursor; Type: TRIGGER; Schema: private; Owner: -
--

CREATE TRIGGER account_opens_event_cursor AFTER INSERT ON private.account FOR EACH ROW EXECUTE FUNCTION private.open_event_cursor();


--
-- Name: event_cursor event_cursor_takes_events_along; Type: TRIGGER; Schema: private; Owner: -
--

CREATE TRIGGER event_cursor_takes_events_along AFTER DELETE ON private.event_cursor REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION private.forget_events();


--
-- Name: job job_delete_is_logged; Type: TRIGGER; Schema: private; Owner: -
--

CREATE TRIGGER job_delete_is_logged AFTER DELETE ON private.job REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION private.log_job();


--
-- Name: job job_insert_is_logged; Type: TRIGGER; Schema: private; Owner: -
--

CREATE TRIGGER job_insert_is_logged AFTER INSERT ON private.job REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION private.log_job();


--
-- Name: job job_update_is_logged; Type: TRIGGER; Schema: private; Owner: -
--

CREATE TRIGGER job_update_is_logged AFTER UPDATE ON private.job REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION private.log_job();


--
-- Name: request request_delete_is_logged; Type: TRIGGER; Schema: private; Owner: -
--

CREATE TRIGGER request_delete_is_logged AFTER DELETE ON private.request REFERENCING OLD TABLE AS before_rows FOR EACH STATEMENT EXECUTE FUNCTION private.log_request();


--
-- Name: request request_update_is_logged; Type: TRIGGER; Schema: private; Owner: -
--

CREATE TRIGGER request_update_is_logged AFTER UPDATE ON private.request REFERENCING NEW TABLE AS after_rows FOR EACH STATEMENT EXECUTE FUNCTION private.log_request();


--
-- Name: session session_end_is_told; Type: TRIGGER; Schema: private; Owner: -
--

CREATE TRIGGER session_end_is_told AFTER DELETE OR UPDATE OF revoked_at ON private.session FOR EACH ROW EXECUTE FUNCTION private.tell_streams();


--
-- Name: attempts attempts_are_read_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER attempts_are_read_only INSTEAD OF INSERT OR DELETE OR UPDATE ON public.attempts FOR EACH ROW EXECUTE FUNCTION private.refuse_write();


--
-- Name: models models_are_read_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER models_are_read_only INSTEAD OF INSERT OR DELETE OR UPDATE ON public.models FOR EACH ROW EXECUTE FUNCTION private.refuse_write();


--
-- Name: partials partials_are_read_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER partials_are_read_only INSTEAD OF INSERT OR DELETE OR UPDATE ON public.partials FOR EACH ROW EXECUTE FUNCTION private.refuse_write();


--
-- Name: requests requests_change_is_fair; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER requests_change_is_fair BEFORE INSERT OR DELETE OR UPDATE ON public.requests FOR EACH STATEMENT EXECUTE FUNCTION private.check_change();


--
-- Name: requests requests_changes_are_made; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER requests_changes_are_made AFTER DELETE OR UPDATE ON public.requests FOR EACH STATEMENT EXECUTE FUNCTION private.apply_changes();


--
-- Name: requests requests_delete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER requests_delete INSTEAD OF DELETE ON public.requests FOR EACH ROW EXECUTE FUNCTION private.delete_request();


--
-- Name: requests requests_insert; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER requests_insert INSTEAD OF INSERT ON public.requests FOR EACH ROW EXECUTE FUNCTION private.insert_request();


--
-- Name: requests requests_insert_has_rows; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER requests_insert_has_rows AFTER INSERT ON public.requests FOR EACH STATEMENT EXECUTE FUNCTION private.refuse_empty_insert();


--
-- Name: requests requests_keep_the_rest; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER requests_keep_the_rest BEFORE UPDATE OF id, task, text, document_id, url, target_words, target_ratio, style, language, model, state, progress, result, checks, engine, error_code, error_message, created_at, updated_at, finished_at ON public.requests FOR EACH STATEMENT EXECUTE FUNCTION private.refuse_read_only();


--
-- Name: requests requests_update; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER requests_update INSTEAD OF UPDATE ON public.requests FOR EACH ROW EXECUTE FUNCTION private.update_request();


--
-- Name: usage usage_is_read_only; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER usage_is_read_only INSTEAD OF INSERT OR DELETE OR UPDATE ON public.usage FOR EACH ROW EXECUTE FUNCTION private.refuse_write();


--
-- Name: allowance allowance_owner_fkey; Type: FK CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.allowance
    ADD CONSTRAINT allowance_owner_fkey FOREIGN KEY (owner) REFERENCES private.account(id) ON DELETE CASCADE;


--
-- Name: event_cursor event_cursor_owner_fkey; Type: FK CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.event_cursor
    ADD CONSTRAINT event_cursor_owner_fkey FOREIGN KEY (owner) REFERENCES private.account(id) ON DELETE CASCADE;


--
-- Name: host_model host_model_host_id_fkey; Type: FK CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.host_model
    ADD CONSTRAINT host_model_host_id_fkey FOREIGN KEY (host_id) REFERENCES private.host(id) ON DELETE CASCADE;


--
-- Name: host_model host_model_model_id_fkey; Type: FK CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.host_model
    ADD CONSTRAINT host_model_model_id_fkey FOREIGN KEY (model_id) REFERENCES private.model(id) ON DELETE CASCADE;


--
-- Name: job job_model_id_fkey; Type: FK CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.job
    ADD CONSTRAINT job_model_id_fkey FOREIGN KEY (model_id) REFERENCES private.model(id);


--
-- Name: request request_owner_fkey; Type: FK CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.request
    ADD CONSTRAINT request_owner_fkey FOREIGN KEY (owner) REFERENCES private.account(id) ON DELETE CASCADE;


--
-- Name: session session_account_id_fkey; Type: FK CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.session
    ADD CONSTRAINT session_account_id_fkey FOREIGN KEY (account_id) REFERENCES private.account(id) ON DELETE CASCADE;


--
-- Name: slot slot_host_id_fkey; Type: FK CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.slot
    ADD CONSTRAINT slot_host_id_fkey FOREIGN KEY (host_id) REFERENCES private.host(id) ON DELETE CASCADE;


--
-- Name: slot slot_model_id_fkey; Type: FK CONSTRAINT; Schema: private; Owner: -
--

ALTER TABLE ONLY private.slot
    ADD CONSTRAINT slot_model_id_fkey FOREIGN KEY (model_id) REFERENCES private.model(id) ON DELETE CASCADE;


--
-- Name: account; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.account ENABLE ROW LEVEL SECURITY;

--
-- Name: allowance; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.allowance ENABLE ROW LEVEL SECURITY;

--
-- Name: attempt; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.attempt ENABLE ROW LEVEL SECURITY;

--
-- Name: audit; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.audit ENABLE ROW LEVEL SECURITY;

--
-- Name: account authsvc; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY authsvc ON private.account TO authsvc USING (true) WITH CHECK (true);


--
-- Name: audit authsvc; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY authsvc ON private.audit TO authsvc USING (true) WITH CHECK (true);


--
-- Name: rate_bucket authsvc; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY authsvc ON private.rate_bucket TO authsvc USING (true) WITH CHECK (true);


--
-- Name: session authsvc; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY authsvc ON private.session TO authsvc USING (true) WITH CHECK (true);


--
-- Name: signing_key authsvc; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY authsvc ON private.signing_key TO authsvc USING (true) WITH CHECK (true);


--
-- Name: token_issuer authsvc; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY authsvc ON private.token_issuer TO authsvc USING (true) WITH CHECK (true);


--
-- Name: event; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.event ENABLE ROW LEVEL SECURITY;

--
-- Name: event_cursor; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.event_cursor ENABLE ROW LEVEL SECURITY;

--
-- Name: event_incarnation; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.event_incarnation ENABLE ROW LEVEL SECURITY;

--
-- Name: event_ticket; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.event_ticket ENABLE ROW LEVEL SECURITY;

--
-- Name: host; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.host ENABLE ROW LEVEL SECURITY;

--
-- Name: host_model; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.host_model ENABLE ROW LEVEL SECURITY;

--
-- Name: job; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.job ENABLE ROW LEVEL SECURITY;

--
-- Name: attempt listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.attempt FOR SELECT TO listener USING (true);


--
-- Name: event_cursor listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.event_cursor TO listener USING (true) WITH CHECK (true);


--
-- Name: event_incarnation listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.event_incarnation FOR SELECT TO listener USING (true);


--
-- Name: host listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.host TO listener USING (true) WITH CHECK (true);


--
-- Name: host_model listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.host_model TO listener USING (true) WITH CHECK (true);


--
-- Name: job listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.job TO listener USING (true) WITH CHECK (true);


--
-- Name: model listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.model TO listener USING (true) WITH CHECK (true);


--
-- Name: partial listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.partial TO listener USING (true) WITH CHECK (true);


--
-- Name: queue listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.queue FOR SELECT TO listener USING (true);


--
-- Name: request listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.request FOR SELECT TO listener USING (true);


--
-- Name: result listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.result TO listener USING (true) WITH CHECK (true);


--
-- Name: slot listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.slot TO listener USING (true) WITH CHECK (true);


--
-- Name: worker listener; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener ON private.worker TO listener USING (true) WITH CHECK (true);


--
-- Name: request listener_deletes; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener_deletes ON private.request FOR DELETE TO listener USING (true);


--
-- Name: event listener_events; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener_events ON private.event TO listener_events USING (true) WITH CHECK (true);


--
-- Name: event_cursor listener_events; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener_events ON private.event_cursor TO listener_events USING (true) WITH CHECK (true);


--
-- Name: event_incarnation listener_events; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener_events ON private.event_incarnation FOR SELECT TO listener_events USING (true);


--
-- Name: event_ticket listener_events; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY listener_events ON private.event_ticket TO listener_events USING (true) WITH CHECK (true);


--
-- Name: model; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.model ENABLE ROW LEVEL SECURITY;

--
-- Name: partial; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.partial ENABLE ROW LEVEL SECURITY;

--
-- Name: account precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.account FOR SELECT TO precis_definer USING (true);


--
-- Name: allowance precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.allowance FOR SELECT TO precis_definer USING (true);


--
-- Name: attempt precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.attempt TO precis_definer USING (true) WITH CHECK (true);


--
-- Name: event precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.event TO precis_definer USING (true) WITH CHECK (true);


--
-- Name: event_cursor precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.event_cursor TO precis_definer USING (true) WITH CHECK (true);


--
-- Name: event_incarnation precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.event_incarnation TO precis_definer USING (true) WITH CHECK (true);


--
-- Name: host_model precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.host_model FOR SELECT TO precis_definer USING (true);


--
-- Name: job precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.job TO precis_definer USING (true) WITH CHECK (true);


--
-- Name: model precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.model TO precis_definer USING (true) WITH CHECK (true);


--
-- Name: partial precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.partial TO precis_definer USING (true);


--
-- Name: queue precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.queue TO precis_definer USING (true) WITH CHECK (true);


--
-- Name: request precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.request TO precis_definer USING (true) WITH CHECK (true);


--
-- Name: result precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.result FOR SELECT TO precis_definer USING (true);


--
-- Name: session precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.session FOR SELECT TO precis_definer USING (true);


--
-- Name: signing_key precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.signing_key FOR SELECT TO precis_definer USING (true);


--
-- Name: token_issuer precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.token_issuer FOR SELECT TO precis_definer USING (true);


--
-- Name: worker precis_definer; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer ON private.worker FOR SELECT TO precis_definer USING (true);


--
-- Name: result precis_definer_deletes; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer_deletes ON private.result FOR DELETE TO precis_definer USING (true);


--
-- Name: worker precis_definer_drains; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY precis_definer_drains ON private.worker FOR UPDATE TO precis_definer USING (true) WITH CHECK (true);


--
-- Name: queue; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.queue ENABLE ROW LEVEL SECURITY;

--
-- Name: rate_bucket; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.rate_bucket ENABLE ROW LEVEL SECURITY;

--
-- Name: request; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.request ENABLE ROW LEVEL SECURITY;

--
-- Name: result; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.result ENABLE ROW LEVEL SECURITY;

--
-- Name: session; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.session ENABLE ROW LEVEL SECURITY;

--
-- Name: signing_key; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.signing_key ENABLE ROW LEVEL SECURITY;

--
-- Name: slot; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.slot ENABLE ROW LEVEL SECURITY;

--
-- Name: token_issuer; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.token_issuer ENABLE ROW LEVEL SECURITY;

--
-- Name: host_model web_reads; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY web_reads ON private.host_model FOR SELECT TO pgrest_anon, pgrest_auth USING (true);


--
-- Name: model web_reads; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY web_reads ON private.model FOR SELECT TO pgrest_anon, pgrest_auth USING (true);


--
-- Name: attempt web_reads_own; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY web_reads_own ON private.attempt FOR SELECT TO pgrest_auth USING ((owner = ( SELECT gate.uid() AS uid)));


--
-- Name: event web_reads_own; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY web_reads_own ON private.event FOR SELECT TO pgrest_auth, event_reader USING ((owner = ( SELECT gate.uid() AS uid)));


--
-- Name: event_cursor web_reads_own; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY web_reads_own ON private.event_cursor FOR SELECT TO pgrest_auth, event_reader USING ((owner = ( SELECT gate.uid() AS uid)));


--
-- Name: job web_reads_own; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY web_reads_own ON private.job FOR SELECT TO pgrest_auth, event_reader USING ((owner = ( SELECT gate.uid() AS uid)));


--
-- Name: partial web_reads_own; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY web_reads_own ON private.partial FOR SELECT TO pgrest_auth, event_reader USING ((owner = ( SELECT gate.uid() AS uid)));


--
-- Name: request web_reads_own; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY web_reads_own ON private.request FOR SELECT TO pgrest_auth, event_reader USING ((owner = ( SELECT gate.uid() AS uid)));


--
-- Name: result web_reads_own; Type: POLICY; Schema: private; Owner: -
--

CREATE POLICY web_reads_own ON private.result FOR SELECT TO pgrest_auth, event_reader USING ((owner = ( SELECT gate.uid() AS uid)));


--
-- Name: worker; Type: ROW SECURITY; Schema: private; Owner: -
--

ALTER TABLE private.worker ENABLE ROW LEVEL SECURITY;

--
-- PostgreSQL database dump complete
--

\unrestrict dbmate


--
-- Dbmate schema migrations
--

INSERT INTO dbmate.schema_migrations (version) VALUES
    ('20261130100000'),
    ('20261130100100'),
    ('20261130100200'),
    ('20261130100300'),
    ('20261130100400'),
    ('20261130100500'),
    ('20261130100600'),
    ('20261130100700');
