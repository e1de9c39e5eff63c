create or replace function private.session_fault(session private.session, banned_at timestamptz, password_changed_at timestamptz)
  returns text language sql volatile
  return case when (session).revoked_at is not null or banned_at is not null
                or password_changed_at > (session).authenticated_at then 'revoked'
              when clock_timestamp() >= least((session).expires_at, (session).idle_expires_at) then 'expired' end;
comment on function private.session_fault(private.session, timestamptz, timestamptz) is
  'Why a session speaks for its account no more, null if it does; the times are the account''s. The one place that knows: refreshing, listing and ending ask it, and so does every request and stream.';
alter function private.session_fault(private.session, timestamptz, timestamptz) owner to precis_definer;
grant execute on function private.session_fault(private.session, timestamptz, timestamptz) to authsvc;
