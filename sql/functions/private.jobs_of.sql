create or replace function private.jobs_of(request_id uuid) returns bigint[] language sql stable set search_path = '' as $$
  select array(select r.job_id from private.request r where r.id = jobs_of.request_id
               union all
               select j.id from private.job j where j.request_id = jobs_of.request_id and j.kind <> 'root')
$$;
comment on function private.jobs_of(uuid) is 'The ids of all jobs of a request: the root job first, then those of its chunks.';
alter function private.jobs_of(uuid) owner to precis_definer;
