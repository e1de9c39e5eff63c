create or replace function private.request_row(request_id uuid) returns public.requests language sql stable set search_path = '' as $$
  select r.id, r.title, r.task, r.text, r.document_id, r.url, r.target_words, r.target_ratio, r.style, r.language, r.model,
         j.priority, j.run_at, gate.request_state(j.state), j.progress, s.body, s.checks, s.engine,
         case when j.state = 'failed' then j.error_code end, case when j.state = 'failed' then j.error_message end,
         r.created_at, j.updated_at, j.finished_at
    from private.request r join private.job j on j.id = r.job_id
    left join private.result s on s.request_id = r.id
   where r.id = request_row.request_id
$$;
comment on function private.request_row(uuid) is 'The row as its owner sees it.';
alter function private.request_row(uuid) owner to precis_definer;
