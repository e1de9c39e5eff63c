create or replace function private.update_request() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  change jsonb := '{}';
begin
  perform private.count_rows();
  if (new.priority, new.run_at) is distinct from (old.priority, old.run_at) then
    new.priority := coalesce(new.priority, 0::smallint);
    perform private.check_request(new);
    change := jsonb_build_object('priority', new.priority);
    -- What the person left alone keeps its newest value: a worker may write it until the job is locked.
    if new.run_at is distinct from old.run_at then change := change || jsonb_build_object('run_at', new.run_at); end if;
    if new.run_at <= now() then new.run_at := null; end if;
    new.updated_at := now();
  end if;
  if new.title is distinct from old.title then
    if char_length(new.title) > 300 then
      perform gate.refuse(422, 'title_too_long', 'A title has at most 300 characters.');
    end if;
    change := change || jsonb_build_object('title', new.title);
  end if;
  if change <> '{}' then perform private.note_change(change || jsonb_build_object('id', old.id)); end if;
  return new;
end $$;
comment on function private.update_request() is 'Checks and notes what a person may change, the title, and priority and time while queued, to be done once all rows are known.';
alter function private.update_request() owner to precis_definer;
