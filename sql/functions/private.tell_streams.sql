create or replace function private.tell_streams() returns trigger language plpgsql set search_path = '' as $$
begin
  -- Always, watched or not: it is rare, and a stream that is just opening must not fall between.
  perform private.tell('precis_event', case tg_table_name when 'session' then to_jsonb(old) ->> 'account_id'
                                                       else to_jsonb(old) ->> 'id' end || ':0');
  return null;
end $$;
comment on function private.tell_streams() is
  'A session ended, an account was banned or got another password: its open streams are to ask the gate again, and close, within the second.';
