create or replace function gate.allowance() returns private.allowance language sql stable security definer set search_path = '' as
  $$ select private.allowance_of(gate.uid()) $$;
comment on function gate.allowance() is
  'What the account that is signed in may have. A function, since the row for everybody is nobody''s own.';
alter function gate.allowance() owner to precis_definer;
grant execute on function gate.allowance() to pgrest_auth;
