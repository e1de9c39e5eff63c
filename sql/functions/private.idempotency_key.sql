create or replace function private.idempotency_key() returns text language plpgsql volatile set search_path = '' as $$
declare
  key text := gate.header('Idempotency-Key');
begin
  if key is null then return null; end if;
  if key !~ '^[\x21-\x7e]{1,255}$' then
    perform gate.refuse(400, 'invalid_idempotency_key', 'An Idempotency-Key is 1 to 255 printable ASCII characters without spaces.');
  end if;
  if current_setting('precis.key_used', true) = 'yes' then
    perform gate.refuse(400, 'idempotency_needs_one_row', 'An Idempotency-Key names one request. Send one row, or no key.');
  end if;
  perform set_config('precis.key_used', 'yes', true);
  return key;
end $$;
comment on function private.idempotency_key() is 'The key that this HTTP request carries. It cannot be right for several rows.';
alter function private.idempotency_key() owner to precis_definer;
