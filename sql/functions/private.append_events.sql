create or replace function private.append_events(event_kind text, owners uuid[], refs uuid[], waits int[], sent bigint[], are_gone boolean)
  returns void language plpgsql security definer set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  today constant date := (now() at time zone 'UTC')::date;
  blocks bigint[];  -- of each one's last event: where to look for their cursor
  numbers bigint[] := '{}';
  last_n bigint;
  watched boolean;
begin
  if cardinality(owners) = 1 then
    blocks := array[(select e.n >> 4 from private.event e where e.owner = owners[1] order by e.n desc limit 1)];
  else  -- in one order: two statements over several owners cannot deadlock
    select array_agg(x.owner), array_agg(x.ref), array_agg(x.waits), array_agg(x.sent), array_agg(x.block)
      into owners, refs, waits, sent, blocks
      from (select c.owner, c.ref, c.waits, c.sent,
                   (select e.n >> 4 from private.event e where e.owner = c.owner order by e.n desc limit 1) as block
              from unnest(owners, refs, waits, sent) with ordinality c(owner, ref, waits, sent, i)
             order by c.owner, c.ref is not null, c.i) x;
  end if;
  for i in 1 .. coalesce(cardinality(owners), 0) loop
    -- Takes the next number and learns whether somebody watches. A stream sets watched_until on this row before it
    -- reads its backlog, so an event is either in that backlog or rings. No row: the account itself is being deleted.
    if sent[i] is null then
      update private.event_cursor c set n = c.n + num_nonnulls(refs[i]), waiting = c.waiting + coalesce(waits[i], 0)
       where c.owner = owners[i] and c.block >= coalesce(blocks[i], 0)
      returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    else
      -- A transaction that began before midnight and got here after another of today must not turn the day back.
      update private.event_cursor c
         set n = c.n + num_nonnulls(refs[i]), waiting = c.waiting + coalesce(waits[i], 0), day = greatest(c.day, today),
             day_requests = case when c.day >= today then c.day_requests else 0 end + 1,
             day_bytes = case when c.day >= today then c.day_bytes else 0 end + sent[i]
       where c.owner = owners[i] and c.block >= coalesce(blocks[i], 0)
      returning c.n, c.watched_until > clock_timestamp() into last_n, watched;
    end if;
    numbers[i] := last_n;
    if owners[i] = owners[i + 1] then
      blocks[i + 1] := last_n >> 4;
    elsif watched and refs[i] is not null then
      perform private.tell('precis_event', owners[i] || ':' || last_n);
    end if;
  end loop;
  insert into private.event (owner, n, kind, ref, gone)
    select x.owner, x.n, event_kind, x.ref, are_gone from unnest(owners, numbers, refs) x(owner, n, ref)
     where x.n is not null and x.ref is not null;
end $$;
comment on function private.append_events(text, uuid[], uuid[], int[], bigint[], boolean) is
  'For each owner: appends an event for each ref that is not null and rings if somebody watches, adds waits to what is queued, and counts each sent that is not null as a request of today with so many bytes.';
alter function private.append_events(text, uuid[], uuid[], int[], bigint[], boolean) owner to precis_definer;
