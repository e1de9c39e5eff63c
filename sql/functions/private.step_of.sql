create or replace function private.step_of(model private.model, allowed private.allowance) returns bigint
  language sql immutable return greatest(2, (model).step / coalesce((allowed).weight, 1))::bigint;
comment on function private.step_of(private.model, private.allowance) is
  'How far apart the tags of an owner''s jobs are: shorter for an owner of more weight.';
alter function private.step_of(private.model, private.allowance) owner to precis_definer;
