create or replace function gate.is_let_work(of_row uuid) returns boolean language plpgsql volatile security definer cost 1 set search_path = '' as $$
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
comment on function gate.is_let_work(uuid) is
  'Asked by a statement that reads for long or reads much, for the row it is at: true for a few of an account at once, the others are refused. Short ones never get here.';
alter function gate.is_let_work(uuid) owner to precis_definer;
grant execute on function gate.is_let_work(uuid) to pgrest_auth, event_reader;
