create or replace function public.cancel(id uuid) returns setof public.requests language plpgsql set search_path = '' rows 1 as $$
begin
  perform gate.cancel(cancel.id);
  return query select r.* from public.requests r where r.id = cancel.id;
end $$;
comment on function public.cancel(uuid) is
  'Stops a queued or running request and closes its model call. Cancelling twice is no error.';
grant execute on function public.cancel(uuid) to pgrest_auth;
