create or replace function gate.check_statement() returns void language plpgsql stable security definer set search_path = '' as $$
declare
  asked text := current_query();
begin
  if coalesce(current_setting('request.method', true), '') = '' then return; end if;  -- nobody at PostgREST
  if length(asked) - length(replace(asked, '"', '')) > 800 then
    perform gate.refuse(400, 'question_too_large', 'This names too many columns and conditions. Ask for at most 90 at once.',
                        'A list of values needs one condition: id=in.(...).');
  end if;
  if strpos(asked, '~') + strpos(asked, 'EXPLAIN') + strpos(asked, 'CAST') + strpos(asked, 'pgrst_source_count') = 0 then return; end if;
  -- What PostgREST made of the question, without the names and words in it, which are the client's.
  asked := regexp_replace(asked, '"[^"]*"|''[^'']*''', '', 'g');
  if strpos(asked, '~') > 0 then  -- before the planner compiles the pattern to guess how many rows it fits
    perform gate.refuse(400, 'pattern_not_offered', 'Regular expressions are not offered here. Use like or ilike, with * for anything.');
  end if;
  if asked ~ '^\s*EXPLAIN' or asked ~ 'pgrst_source_count AS \(SELECT 1 FROM .* LIMIT \d' then
    perform gate.refuse(400, 'count_not_offered',
      'count=planned and count=estimated are guesses from everybody''s rows. Ask for count=exact.');
  end if;
  if regexp_count(asked, '\mCAST\s*\(') > regexp_count(asked, '\mCAST\s*\([^()]* AS (text|varchar|character varying)\s*\)') then
    perform gate.refuse(400, 'cast_not_offered', 'A column can be cast to text and to nothing else.');
  end if;
end $$;
comment on function gate.check_statement() is
  'Refuses what a client may not ask PostgREST for: estimates that tell of others'' rows, casts that make much of little (a numeric of eight bytes is 131,072 digits), columns without number.';
alter function gate.check_statement() owner to precis_definer;
