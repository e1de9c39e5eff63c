create or replace function private.add_model(model_name text) returns int
  language plpgsql security definer set search_path = '' as $$
declare
  model_id int;
  clock text;
begin
  perform pg_advisory_xact_lock(hashtext('precis.add_model'));
  select m.id into model_id from private.model m where m.name = model_name;
  if found then return model_id; end if;
  model_id := nextval(pg_get_serial_sequence('private.model', 'id'));
  clock := format('private.%I', 'model_clock_' || model_id);
  execute format('create sequence %s minvalue 0 start 0', clock);
  execute format('grant select, usage, update on sequence %s to listener', clock);
  insert into private.model (id, name, clock) overriding system value values (model_id, model_name, clock::regclass);
  return model_id;
end $$;
comment on function private.add_model(text) is 'The id of the model called so; makes it, with its clock, if it is new.';
alter function private.add_model(text) owner to precis_definer;
grant execute on function private.add_model(text) to listener;
