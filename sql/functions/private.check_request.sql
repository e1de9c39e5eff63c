create or replace function private.check_request(new public.requests) returns void language plpgsql stable set search_path = '' as $$
declare
  fault text[] := case
    when new.task is null or new.task not in ('summarize', 'shorten') then array['unknown_task',
      'The task must be summarize or shorten.']
    when char_length(new.url) > 2048 then array['url_too_long',
      'An address has at most 2048 characters.']
    when char_length(new.model) > 200 then array['model_too_long',
      'The name of a model has at most 200 characters. GET /models lists them.']
    when char_length(new.language) > 35 then array['language_too_long',
      'A language tag has at most 35 characters: en, de or pt-BR.']
    when num_nonnulls(new.text, new.document_id, new.url) = 0 then array['no_source',
      'Nothing to work on: give the text.']
    when num_nonnulls(new.text, new.document_id, new.url) > 1 then array['several_sources',
      'Give exactly one of text, document_id and url.']
    when new.text is null then array['source_not_supported',
      'This server reads text only: put the text itself into text.']
    when octet_length(new.text) > 1048576 then array['text_too_large',
      'The text is larger than 1 MiB. Split it and send the parts one by one.']
    when new.text !~ '[[:alnum:]]' then array['empty_text',
      'The text holds no letter or digit. Give a text that says something.']
    when num_nonnulls(new.target_words, new.target_ratio) > 1 then array['several_targets',
      'Give target_words or target_ratio, not both.']
    when new.target_words not between 1 and 20000 then array['invalid_target_words',
      'target_words must be between 1 and 20000.']
    when new.target_ratio <= 0 or new.target_ratio >= 1 or new.target_ratio = 'NaN' then array['invalid_target_ratio',
      'target_ratio must be above 0 and below 1: 0.3 asks for three tenths of the length.']
    when new.style not in ('plain', 'bullets', 'headline') then array['unknown_style',
      'The style must be plain, bullets or headline.']
    when new.language !~ '^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$' then array['invalid_language',
      'language must be a BCP 47 tag such as en, de or pt-BR; leave it out for the language of the source.']
    when char_length(new.title) > 300 then array['title_too_long',
      'A title has at most 300 characters.']
    when new.priority not between -1 and 1 then array['invalid_priority',
      'priority must be -1, 0 or 1.']
    when new.run_at > now() + interval '1 year' or new.run_at = 'infinity' then array['invalid_run_at',
      'run_at must lie within a year from now.']
    end;
begin
  if fault is not null then
    perform gate.refuse(case fault[1] when 'text_too_large' then 413 else 422 end, fault[1], fault[2]);
  end if;
end $$;
comment on function private.check_request(public.requests) is
  'Refuses a request that cannot be accepted, with a code and a sentence. The tables guard themselves as well.';
alter function private.check_request(public.requests) owner to precis_definer;
