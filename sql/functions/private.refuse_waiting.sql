create or replace function private.refuse_waiting(most int) returns void language sql volatile set search_path = '' as $$
  select private.refuse_quota('too_many_waiting',
    format('As many of your requests are waiting as may: %s. Send more when some of them have begun.', most), 30)
$$;
comment on function private.refuse_waiting(int) is 'Refuses because too many requests of the account would wait.';
alter function private.refuse_waiting(int) owner to precis_definer;
