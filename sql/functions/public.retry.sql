create or replace function public.retry(id uuid) returns setof public.requests language plpgsql set search_path = '' rows 1 as $$
begin
  perform gate.retry(retry.id);
  return query select r.* from public.requests r where r.id = retry.id;
end $$;
comment on function public.retry(uuid) is 'Queues a failed or cancelled request again.';
grant execute on function public.retry(uuid) to pgrest_auth;
