"""The queue's statements on hosts and the models they serve. One statement each.

Knows no model server: what hosts serve is told to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from listener.queue.jobs import Claimant, Connection

UNSEEN_SECONDS = 90.0  # workers record a host each 30 s while they reach it
FORGOTTEN_SECONDS = 3600.0  # a host may be down for as long, if others may have it in their settings

# $1 url, $2 version.
PUT_HOST: LiteralString = """
insert into private.host (url, version) values ($1, $2)
on conflict (url) do update set version = excluded.version, seen_at = clock_timestamp() returning id
"""

# $1 name. Makes the model, with a clock of its own, if it is new.
ADD_MODEL: LiteralString = "select private.add_model($1)"

# $1 host, $2 models, $3 digests, $4 families, $5 context tokens, $6 capabilities as comma-separated texts,
# $7 slots per model. What the host no longer lists goes, and with it its slots that nobody holds.
PUT_HOST_MODELS: LiteralString = """
with given as materialized (
  select g.model_id, g.digest, g.family, g.context_tokens,
         string_to_array(g.capabilities, ',') as capabilities
    from unnest($2::int[], $3::text[], $4::text[], $5::int[], $6::text[])
           g(model_id, digest, family, context_tokens, capabilities)),
served as (
  insert into private.host_model (host_id, model_id, digest, family, context_tokens, capabilities)
  select $1, g.model_id, g.digest, g.family, g.context_tokens, g.capabilities from given g order by g.model_id
  on conflict (host_id, model_id) do update
     set digest = excluded.digest, family = excluded.family, context_tokens = excluded.context_tokens,
         capabilities = excluded.capabilities, available = true, seen_at = clock_timestamp()),
dropped as (
  delete from private.host_model h
   where h.host_id = $1 and h.model_id not in (select g.model_id from given g)),
opened as (
  insert into private.slot (host_id, model_id, n)
  select $1, g.model_id, s.n from given g, generate_series(1, $7) s(n) order by 1, 2, 3
  on conflict do nothing)
delete from private.slot s
 where s.host_id = $1 and s.worker_id is null
   and (s.n > $7 or s.model_id not in (select g.model_id from given g))
"""

# $1 host. It answers as before; how many models of it are on record.
SEE_HOST: LiteralString = """
with seen as (update private.host h set seen_at = clock_timestamp() where h.id = $1),
offered as (
  update private.host_model h set seen_at = clock_timestamp(), available = true where h.host_id = $1
  returning h.model_id)
select count(*) from offered
"""

# $1 host, $2 worker, $3 seconds. Nobody else reaches it either, as far as can be told.
MISS_HOST: LiteralString = """
update private.host_model h set available = false
 where h.host_id = $1 and h.available
   and (h.seen_at < clock_timestamp() - make_interval(secs => $3)
        or not exists (select from private.worker w where w.id <> $2 and w.lease_until > '-infinity'))
"""

# $1 urls, $2 worker, $3 seconds. Where we do not look, and nobody else has looked for so long, nothing is on
# offer.
HIDE_OTHERS: LiteralString = """
update private.host_model h set available = false
  from private.host o
 where o.id = h.host_id and h.available and o.url <> all ($1)
   and (h.seen_at < clock_timestamp() - make_interval(secs => $3)
        or not exists (select from private.worker w where w.id <> $2 and w.lease_until > clock_timestamp()))
"""

# $1 urls, $2 worker, $3 seconds, and $4 while there are other workers. Hosts that nobody has seen for so
# long: they were taken out of the settings. Their models can no longer be the default, nor their slots be
# counted. Should a listener see one again, it records it anew.
FORGET_OTHERS: LiteralString = """
with alone as materialized (
  select not exists (select from private.worker w
                      where w.id <> $2 and w.lease_until > clock_timestamp()) as yes),
gone as materialized (
  select o.id, o.url from private.host o
   where o.url <> all ($1)
     and not exists (select from private.host_model h cross join alone a
                      where h.host_id = o.id
                        and h.seen_at >= clock_timestamp() - make_interval(
                              secs => case when a.yes then $3::float8 else $4 end))),
dropped as (
  delete from private.host_model h
   where h.host_id = any (array(select g.id from gone g)) returning h.host_id),
closed as (
  delete from private.slot s where s.worker_id is null and s.host_id = any (array(select g.id from gone g)))
select g.url from gone g where g.id in (select d.host_id from dropped d)
"""

# $1 the configured default or ''. Without one: not the extractive engine while there is a language model;
# else the one that is it already; else the oldest. The unset comes first, for the unique index.
CHOOSE_DEFAULT: LiteralString = """
with chosen as materialized (
  select m.id from private.model m join private.host_model h on h.model_id = m.id
   where $1 = '' or m.name in ($1, $1 || ':latest')
   group by m.id
   order by m.name = $1 desc, bool_and(h.family = 'extractive'), m.is_default desc, m.id limit 1),
unset as (
  update private.model m set is_default = false
   where m.is_default and m.id not in (select id from chosen) returning m.id)
update private.model m set is_default = true
 where m.id in (select id from chosen) and not m.is_default and (select count(*) from unset) >= 0
returning m.name
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A model as one host serves it."""

    model_id: int
    name: str
    digest: str
    family: str
    context_tokens: int
    capabilities: tuple[str, ...]


async def put_host(connection: Connection, *, url: str, version: str) -> int:
    """The id of the host at that address, which has just answered."""
    return int(await connection.fetchval(PUT_HOST, url, version))


async def add_model(connection: Connection, name: str) -> int:
    """The id of the model called so."""
    return int(await connection.fetchval(ADD_MODEL, name))


async def put_host_models(
    connection: Connection, host_id: int, models: Sequence[Served], *, slots_per_model: int
) -> None:
    """Record exactly these as what the host serves, with so many slots each."""
    await connection.execute(
        PUT_HOST_MODELS,
        host_id,
        [model.model_id for model in models],
        [model.digest for model in models],
        [model.family for model in models],
        [model.context_tokens for model in models],
        [",".join(model.capabilities) for model in models],
        slots_per_model,
    )


async def see_host(connection: Connection, host_id: int) -> int:
    """The host still answers as recorded; how many of its models are."""
    return int(await connection.fetchval(SEE_HOST, host_id))


async def miss_host(connection: Connection, host_id: int, claimant: Claimant) -> None:
    """We cannot reach the host."""
    await connection.execute(MISS_HOST, host_id, claimant.worker_id, UNSEEN_SECONDS)


async def hide_others(connection: Connection, urls: Sequence[str], claimant: Claimant) -> None:
    """Offer nothing of hosts that are none of `urls` and that nobody sees."""
    await connection.execute(HIDE_OTHERS, list(urls), claimant.worker_id, UNSEEN_SECONDS)


async def forget_others(connection: Connection, urls: Sequence[str], claimant: Claimant) -> list[str]:
    """Forget what such hosts served; the addresses of these."""
    rows = await connection.fetch(
        FORGET_OTHERS, list(urls), claimant.worker_id, UNSEEN_SECONDS, FORGOTTEN_SECONDS
    )
    return [row["url"] for row in rows]


async def choose_default(connection: Connection, configured: str) -> str | None:
    """Set the model of requests that name none; its name if it has changed."""
    name: Any = await connection.fetchval(CHOOSE_DEFAULT, configured)
    return None if name is None else str(name)
