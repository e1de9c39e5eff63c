create or replace function public.clear(state text) returns json language plpgsql set search_path = '' as $$
begin
  return gate.clear(clear.state);
end $$;
comment on function public.clear(text) is
  'Cancels your requests that are queued or running, or deletes those that are done, failed or cancelled: a batch in each call. Answers how many were cleared, and how many are left: call it until none is.';
grant execute on function public.clear(text) to pgrest_auth;
