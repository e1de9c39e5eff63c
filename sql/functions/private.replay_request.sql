create or replace function private.replay_request(stored private.request, hash bytea) returns public.requests
  language plpgsql volatile set search_path = '' as $$
begin
  if stored.body_hash <> hash then
    perform gate.refuse(422, 'idempotency_key_reused',
      'This Idempotency-Key belongs to another request of yours. Use a new key for a new request.');
  end if;
  perform private.answer(200, stored.id, true);
  return private.request_row(stored.id);
end $$;
comment on function private.replay_request(private.request, bytea) is
  'Answers a key that was seen before: the same row for the same body.';
alter function private.replay_request(private.request, bytea) owner to precis_definer;
