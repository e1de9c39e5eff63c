create or replace function private.answer(status int, id uuid, replayed boolean) returns void language plpgsql volatile set search_path = '' as $$
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
comment on function private.answer(int, uuid, boolean) is 'Sets the HTTP status and the headers of an accepted request.';
alter function private.answer(int, uuid, boolean) owner to precis_definer;
