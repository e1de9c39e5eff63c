"""The queue's statements on workers and their leases. One statement each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString, NamedTuple

from listener.queue.jobs import Claimant, Connection
from listener.queue.rescue import LEASE_SECONDS

# $1 name, $2 version, $3 seconds of lease.
REGISTER: LiteralString = """
insert into private.worker (name, version, lease_until)
values ($1, $2, clock_timestamp() + make_interval(secs => $3)) returning id, incarnation
"""

# No parameter. After a crash of the server nobody claims before somebody has begun a new incarnation.
BEGIN_INCARNATION: LiteralString = "select private.begin_incarnation()"

# $1 worker, $2 incarnation, $3 seconds of lease, $4 whether it wants to leave, $5 models it serves, $6 jobs
# and $7 epochs it runs, $8 hosts it reaches. The only heartbeat there is, so it also brings all news: what
# was taken from us, what we own and do not know of, how far the others have counted, how the slots are
# shared. The time of the server's start tells that it was started anew, and nothing more.
RENEW: LiteralString = """
with me as materialized (
  update private.worker w
     set lease_until = clock_timestamp() + make_interval(secs => $3), renewals = w.renewals + 1,
         draining = w.draining or $4, models = $5
   where w.id = $1 and w.incarnation = $2 returning w.draining)
select (select count(*) from me) > 0 as alive, (select me.draining from me) as draining,
       array(select array[r.job_id, r.epoch] from unnest($6::bigint[], $7::bigint[]) r(job_id, epoch)
              where not exists (select from private.job j
                                 where j.id = r.job_id and j.epoch = r.epoch and j.worker_id = $1)
            ) as lost,
       array(select array[j.id, j.epoch] from private.job j
              where j.worker_id = $1 and j.state = 'running' and j.id <> all ($6)) as unknown_claims,
       array(select array[w.id, w.incarnation, w.renewals, (w.lease_until = '-infinity')::int]
               from private.worker w where w.id <> $1) as others,
       pg_postmaster_start_time()::text as server,
       exists (select from private.event_incarnation e where e.only_row) as begun,
       (select extract(epoch from min(j.run_at) - clock_timestamp())::float8 from private.job j
         where j.state = 'ready' and j.run_at is not null) as due_seconds,
       array(select array[m.id, coalesce(pg_sequence_last_value(m.clock), 0),
                          (select count(*) from private.slot s
                             join private.queue q on q.only_row and q.paused_at is null
                            where s.model_id = m.id and m.paused_at is null),
                          (select count(*) from private.slot s
                            where s.model_id = m.id and s.host_id = any ($8)
                             and not exists (select from private.worker w
                                              where w.id = s.worker_id and w.incarnation = s.incarnation)),
                          (select count(*) from private.worker w
                            where w.lease_until > '-infinity' and not w.draining
                              and m.id = any (w.models))]
               from private.model m where m.id = any ($5)) as models
"""

# $1 worker, which leaves: what it still runs costs no attempt. Waits for a claim of it that is still in
# flight, and lets no other begin.
FENCE: LiteralString = """
with me as materialized (select w.id from private.worker w where w.id = $1 for update)
update private.worker w set lease_until = '-infinity', incarnation = w.incarnation + 1, draining = true
  from me where w.id = me.id
"""

# $1 worker, fenced before: else this snapshot might miss a claim of it. What it still runs stays, with its
# row, for the rescue.
UNREGISTER: LiteralString = """
with freed as (
  update private.slot s set worker_id = null, incarnation = null where s.worker_id = $1 returning s.n),
gone as (
  delete from private.worker w
   where w.id = $1 and not exists (select from private.job j where j.worker_id = $1 and j.state = 'running')
  returning w.id)
select (select count(*) from gone), (select private.tell('precis_control', 'models') from freed limit 1)
"""


@dataclass(frozen=True, slots=True)
class Share:
    """A model's clock, how many slots it has (none while it is paused), how many of them nobody holds on
    hosts that we reach, and how many workers serve it."""

    model_id: int
    clock: int
    slots: int
    unleased: int
    workers: int

    @property
    def fair(self) -> int:
        """The most slots that one worker should hold."""
        return -(-self.slots // max(1, self.workers))


class Other(NamedTuple):
    """Another worker, and how often it has renewed its lease. `fenced`: its jobs are being taken back."""

    worker_id: int
    incarnation: int
    renewals: int
    fenced: bool


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a renewal brought back. Not `alive`: somebody has taken us for dead, all else is void. Not
    `begun`: nobody can claim. Another `server` than before was started since."""

    alive: bool
    draining: bool
    lost: frozenset[tuple[int, int]]
    unknown_claims: frozenset[tuple[int, int]]
    others: tuple[Other, ...]
    server: str
    begun: bool
    due_seconds: float | None
    shares: tuple[Share, ...]


async def register(connection: Connection, *, name: str, version: str) -> Claimant:
    """A new worker with a fresh lease."""
    await begin_incarnation(connection)
    row = await connection.fetchrow(REGISTER, name, version, LEASE_SECONDS)
    assert row is not None
    return Claimant(row["id"], row["incarnation"])


async def begin_incarnation(connection: Connection) -> None:
    """After a crash of the server, have claims draw epochs that it has not lost. Else nothing."""
    await connection.execute(BEGIN_INCARNATION)


async def renew(
    connection: Connection,
    claimant: Claimant,
    *,
    leaving: bool,
    models: Sequence[int],
    hosts: Sequence[int],
    claims: Sequence[tuple[int, int]],
) -> Renewal:
    """Extend the lease, and hear what has happened to our (job, epoch)s, our slots and other workers."""
    row = await connection.fetchrow(
        RENEW,
        claimant.worker_id,
        claimant.incarnation,
        LEASE_SECONDS,
        leaving,
        list(models),
        [job for job, _ in claims],
        [epoch for _, epoch in claims],
        list(hosts),
    )
    assert row is not None
    return Renewal(
        alive=row["alive"],
        draining=bool(row["draining"]),
        lost=frozenset((job, epoch) for job, epoch in row["lost"]),
        unknown_claims=frozenset((job, epoch) for job, epoch in row["unknown_claims"]),
        others=tuple(
            Other(worker, incarnation, renewals, bool(fenced))
            for worker, incarnation, renewals, fenced in row["others"]
        ),
        server=row["server"],
        begun=row["begun"],
        due_seconds=row["due_seconds"],
        shares=tuple(Share(*numbers) for numbers in row["models"]),
    )


async def unregister(connection: Connection, claimant: Claimant) -> None:
    """Give everything back and leave."""
    await connection.execute(FENCE, claimant.worker_id)
    await connection.execute(UNREGISTER, claimant.worker_id)
