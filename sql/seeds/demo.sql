-- Example requests for an account that exists already: two done with result and checks, one failed, one cancelled, one
-- scheduled for tomorrow; each with its attempts. As precis_owner or a superuser; safe to run again.
--   psql -v email=demo@example.com -f sql/seeds/demo.sql
-- The results were written by hand, and their column engine says so; the checks are what listener.text.checks makes of them.

\set ON_ERROR_STOP on
\set QUIET on
\if :{?email}
\else
  \set email demo@example.com
\endif

begin;
select set_config('precis.seed_email', :'email', true) \g /dev/null

do $seed$
declare
  asked constant text := current_setting('precis.seed_email');
  account private.account;
  model private.model;
  example record;
  request_id uuid;
  job_id bigint;
begin
  select * into account from private.account a where a.email_key = lower(asked);
  if not found then
    raise exception 'There is no account %. Register it first (precis up does), or give another: -v email=...', asked;
  end if;
  select * into model from private.model m order by m.is_default desc, m.id limit 1;
  if not found then  -- no worker has announced one yet
    perform private.add_model('extractive:latest');
    select * into strict model from private.model m;
  end if;
  -- The lock that orders this account's events and tags, as every insert takes it.
  perform from private.event_cursor c where c.owner = account.id for no key update;

  for example in
    select * from (values
      (1, 'Example: lighthouses', 'summarize', 'done', interval '2 days',
       $text$A lighthouse does one thing: it tells a ship where the land is. For two thousand years that meant a fire on a tower, and somebody who kept it burning. The keeper carried fuel up the stairs in the evening, trimmed the wick through the night, and wrote down the weather in the morning.

In 1822 Augustin Fresnel showed that a ring of prisms bends almost all light of a lamp into one beam. His first large lens was lit at Cordouan on the French coast in 1823, and sailors saw it from 32 kilometres away. Within fifty years nearly every important light in Europe had one.

Electric lamps, and later automatic controls, took the keeper's work away piece by piece. Today most lights are watched from a distant office, and ships find their way by satellite. The towers remain in service all the same: a lamp does not depend on a signal that can be jammed, and a captain who sees it knows at once that it is true.$text$,
       60, null::real,
       $text$A lighthouse tells a ship where the land is; for two thousand years that took a fire and a keeper. In 1822 Augustin Fresnel showed how a ring of prisms bends a lamp's light into one beam, and his lens at Cordouan was seen from 32 kilometres away. Today most lights run without a keeper, yet they stay in service because a lamp cannot be jammed.$text$,
       $json${"length": {"score": 0.9, "ok": true, "target_words": 60, "words": 66, "source_words": 170, "ratio": 0.388}, "language": {"score": 1.0, "ok": true, "expected": "en", "found": ["en", "pcm"]}, "numbers": {"score": 1.0, "ok": true, "invented": []}, "names": {"score": 1.0, "ok": true, "invented": []}, "quotes": {"score": null, "ok": null, "invented": []}, "novelty": {"score": 0.839, "ok": true, "copied": 0.219}, "repetition": {"score": 1.0, "ok": true, "repeated": [], "looping": false}, "negation": {"score": null, "ok": null}, "coverage": {"score": null, "ok": null}, "refusal": {"score": 1.0, "ok": true, "found": []}}$json$,
       null, null),
      (2, 'Example: a wordy notice', 'shorten', 'done', interval '1 day',
       $text$The meeting was originally planned for the afternoon of Tuesday, but because of the fact that several of the people who had been invited were not able to attend at that time, it was decided that it should be moved to Thursday morning at 10:30. The room remains the same as before, which is room 214 on the second floor of the main building. Please make sure that you bring along a printed copy of the report with you, since there is not going to be a projector in the room.$text$,
       null, 0.5::real,
       $text$The meeting planned for Tuesday afternoon was moved to Thursday morning at 10:30 because several people could not attend. The room remains 214 on the second floor of the main building. Please bring a printed copy of the report, since there is not going to be a projector.$text$,
       $json${"length": {"score": 0.973, "ok": true, "target_ratio": 0.5, "words": 48, "source_words": 91, "ratio": 0.527}, "language": {"score": 1.0, "ok": true, "expected": "en", "found": ["en", "pcm"]}, "numbers": {"score": 1.0, "ok": true, "invented": [], "lost": []}, "names": {"score": 1.0, "ok": true, "invented": [], "lost": []}, "quotes": {"score": null, "ok": null, "invented": []}, "novelty": {"score": 0.976, "ok": true, "copied": 0.435}, "repetition": {"score": 1.0, "ok": true, "repeated": [], "looping": false}, "negation": {"score": 1.0, "ok": true, "source": 3, "output": 3}, "coverage": {"score": null, "ok": null}, "refusal": {"score": 1.0, "ok": true, "found": []}}$json$,
       null, null),
      (3, 'Example: failed', 'summarize', 'failed', interval '3 hours',
       'Imagine a whole book here.', 200, null, null, null,
       'input_too_long', 'The text is too long for this model: about 91200 tokens, with room for 7373. Choose a model with a longer context (GET /models lists them), or send the text in parts.'),
      (4, 'Example: cancelled', 'shorten', 'cancelled', interval '2 hours',
       'Somebody asked to have this shortened, and thought better of it.', null, 0.3, null, null, null, null),
      (5, 'Example: scheduled for tomorrow', 'summarize', 'ready', interval '1 minute',
       'This request waits for its time. Delete it, or change run_at to have it done at once.', 10, null, null, null, null, null)
    ) e(n, title, task, state, age, text, target_words, target_ratio, body, checks, error_code, error_message)
  loop
    insert into private.request (owner, title, task, text, target_words, target_ratio, model, idempotency_key, body_hash, created_at)
      values (account.id, example.title, example.task, example.text, example.target_words, example.target_ratio, model.name,
              'example-' || example.n, sha256(convert_to(example.text, 'UTF8')), now() - example.age)
      on conflict (owner, idempotency_key) do nothing returning id, request.job_id into request_id, job_id;
    continue when request_id is null;  -- it is there from an earlier run
    insert into private.job (id, request_id, owner, model_id, state, tag, run_at, epoch, progress, updated_at, finished_at, error_code, error_message)
      values (job_id, request_id, account.id, model.id, example.state, private.fair_tag(account.id, model.id),
              case when example.state = 'ready' then now() + interval '1 day' end,
              case when example.state in ('done', 'failed') then 1 else 0 end,
              case when example.state = 'done' then 1 else 0 end, now() - example.age,
              case when example.state <> 'ready' then now() - example.age + interval '4 seconds' end,
              example.error_code, example.error_message);
    if example.state in ('done', 'failed') then  -- as the trigger on job would have logged it
      insert into private.attempt (job_id, epoch, request_id, owner, worker_id, worker, claimed_at, ended_at, outcome, error_code, error_message)
        values (job_id, 1, request_id, account.id, 0, 'example', now() - example.age, now() - example.age + interval '4 seconds',
                example.state, example.error_code, example.error_message);
    end if;
    if example.body is not null then
      insert into private.result (request_id, owner, epoch, body, checks, engine)
        values (request_id, account.id, 1, example.body, example.checks::jsonb, '{"engine": "example", "calls": 0}');
    end if;
  end loop;
end $seed$;
commit;
