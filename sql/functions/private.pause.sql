create or replace function private.pause(model_name text default null) returns void language plpgsql security definer set search_path = '' as $$
begin
  if model_name is null then
    update private.queue q set paused_at = coalesce(q.paused_at, now());
  else
    update private.model m set paused_at = coalesce(m.paused_at, now()) where m.name = model_name;
    if not found then perform gate.refuse(404, 'unknown_model', 'No model of that name is known here.'); end if;
  end if;
  perform private.tell('precis_control', 'models');
end $$;
comment on function private.pause(text) is
  'Nothing more is claimed, of the model or of all; what runs ends, what waits keeps its place. Requests are accepted as before.';
alter function private.pause(text) owner to precis_definer;
