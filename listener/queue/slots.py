"""The queue's statements on slots: lease them, give them back. One statement each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

from listener.queue.jobs import Claimant, Connection

# $1 worker, $2 incarnation, $3 model, $4 hosts, $5 how many. A slot whose worker is gone is free.
# `free` may lock a slot that somebody has leased since this statement's snapshot: the recheck then sees the
# slot as it is now, but no worker beside it (it does not look up anti-joined rows anew), and takes it for
# free. So what has changed since the snapshot is left alone.
LEASE_SLOTS: LiteralString = """
with me as materialized (
  select w.id from private.worker w
   where w.id = $1 and w.incarnation = $2 and not w.draining
     for key share),
free as materialized (
  select s.host_id, s.model_id, s.n, s.worker_id, s.incarnation from private.slot s
   where exists (select from me) and s.model_id = $3 and s.host_id = any ($4)
     and not exists (select from private.worker w where w.id = s.worker_id and w.incarnation = s.incarnation)
   order by s.n, s.host_id limit $5 for no key update of s skip locked),
unchanged as materialized (
  select f.host_id, f.model_id, f.n from free f
    join private.slot s on (s.host_id, s.model_id, s.n) = (f.host_id, f.model_id, f.n)
   where s.worker_id is not distinct from f.worker_id and s.incarnation is not distinct from f.incarnation)
update private.slot s set worker_id = $1, incarnation = $2 from unchanged u
 where (s.host_id, s.model_id, s.n) = (u.host_id, u.model_id, u.n) returning s.host_id, s.model_id, s.n
"""

# $1 worker, $2 incarnation, $3 hosts, $4 models, $5 numbers.
GIVE_BACK_SLOTS: LiteralString = """
with given as (
  update private.slot s set worker_id = null, incarnation = null
    from unnest($3::int[], $4::int[], $5::int[]) g(host_id, model_id, n)
   where (s.host_id, s.model_id, s.n) = (g.host_id, g.model_id, g.n)
     and s.worker_id = $1 and s.incarnation = $2
  returning s.n)
select count(private.tell('precis_control', 'models')) from (select from given limit 1) g
"""


@dataclass(frozen=True, slots=True)
class SlotKey:
    """One allowed parallel call."""

    host_id: int
    model_id: int
    n: int


async def lease_slots(
    connection: Connection, claimant: Claimant, *, model_id: int, hosts: Sequence[int], most: int
) -> list[SlotKey]:
    """Take up to `most` free slots of a model on the given hosts."""
    rows = await connection.fetch(
        LEASE_SLOTS, claimant.worker_id, claimant.incarnation, model_id, list(hosts), most
    )
    return [SlotKey(**row) for row in rows]


async def give_back_slots(connection: Connection, claimant: Claimant, slots: Sequence[SlotKey]) -> None:
    """Let others have them, and tell them to look."""
    await connection.execute(
        GIVE_BACK_SLOTS,
        claimant.worker_id,
        claimant.incarnation,
        [slot.host_id for slot in slots],
        [slot.model_id for slot in slots],
        [slot.n for slot in slots],
    )
