create or replace function private.resume(model_name text default null) returns void language plpgsql security definer set search_path = '' as $$
begin
  if model_name is null then
    update private.queue q set paused_at = null;
  else
    update private.model m set paused_at = null where m.name = model_name;
    if not found then perform gate.refuse(404, 'unknown_model', 'No model of that name is known here.'); end if;
  end if;
  perform private.tell('precis_control', 'models');
end $$;
comment on function private.resume(text) is 'Ends a pause. A model that was paused by itself stays so when all is resumed.';
alter function private.resume(text) owner to precis_definer;
