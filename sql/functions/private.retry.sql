create or replace function private.retry(request_id uuid) returns void language plpgsql security definer set search_path = '' as $$
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
comment on function private.retry(uuid) is 'Queues a failed or cancelled request again, whoever''s it is.';
alter function private.retry(uuid) owner to precis_definer;
