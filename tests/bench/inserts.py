"""Inserts per second through the view, as a signed-in person, with every slot busy and nobody watching:
the doorbell as designed, no bell at all, and a NOTIFY per row. And how often the doorbell rang meanwhile."""

import re
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure, at_least, at_most, median, shown
from tests.fix_postgres import Database

ROUNDS = 7
ROUND_SECONDS = 2
ACCOUNTS = 400
GOAL_SHARE = {16: 85.0, 32: 90.0}  # by clients
GOAL_RINGS = 0.01
DESIGNED, NO_BELL, EACH_RINGS = "as designed", "no bell", "a NOTIFY per row"

# As PostgREST does it: one transaction, the role and the claims set in it, then the statement on the view.
SCRIPT = """\
\\set n random(1, {accounts})
begin;
select set_config('role', 'pgrest_auth', true), set_config('request.jwt.claims',
  '{{"sub": "00000000-0000-4000-8000-' || lpad((:n)::text, 12, '0') || '"}}', true);
insert into public.requests (task, text) values ('summarize', 'A sentence that waits for a free slot.');
commit;
"""
MAKE_ACCOUNTS = """\
insert into private.account (id, email, email_key)
  select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, address, address
    from generate_series(1, {accounts}) n cross join lateral (select n || '@bench.example' as address) a
"""
RING = """create or replace function private.ring() returns void
  language plpgsql security definer set search_path = ''"""
READ_RING = "select pg_get_functiondef('private.ring()'::regprocedure)"
WITHOUT_RING = f"{RING} as $$ begin end $$"
ALWAYS_RING = f"{RING} as $$ begin perform pg_notify('precis_bell', ''); end $$"
READ_RINGS = "select coalesce(pg_sequence_last_value('private.rings'), 0)"


@dataclass(frozen=True, slots=True)
class Run:
    """What pgbench did in one round."""

    transactions: int
    per_second: float


@dataclass(frozen=True, slots=True)
class Round(Run):
    """The same, and how often the doorbell rang."""

    rings: int


def measure(database: Database, folder: Path) -> list[Figure]:
    """`database` has a model, a worker whose slots are all busy, and no stream."""
    as_designed = database.cluster.psql(database.name, "-Atc", READ_RING)
    database.cluster.psql(database.name, "-c", MAKE_ACCOUNTS.format(accounts=ACCOUNTS))
    script = folder / "insert.sql"
    script.write_text(SCRIPT.format(accounts=ACCOUNTS))
    bells = {DESIGNED: as_designed, NO_BELL: WITHOUT_RING, EACH_RINGS: ALWAYS_RING}
    rounds: dict[tuple[int, str], list[Round]] = defaultdict(list)
    order = list(bells)
    for _ in range(ROUNDS):
        order.append(order.pop(0))  # no variant always comes first
        for clients in GOAL_SHARE:
            for name in order:
                database.cluster.psql(database.name, "-c", bells[name])
                rounds[clients, name].append(one_round(database, script, clients))
    database.cluster.psql(database.name, "-c", as_designed)
    by_clients = ((clients, {name: rounds[clients, name] for name in bells}) for clients in GOAL_SHARE)
    return [figure for clients, found in by_clients for figure in figures(clients, found)]


def figures(clients: int, rounds: dict[str, list[Round]]) -> list[Figure]:
    """The share is the median of the rounds' own ratios: what slows a whole round slows both sides of it."""
    designed = rounds[DESIGNED]
    pairs = zip(designed, rounds[NO_BELL], strict=True)
    share = median(with_bell.per_second / without.per_second for with_bell, without in pairs)
    name = f"inserts, {clients} clients, as designed"
    return [
        *(
            shown(f"inserts, {clients} clients, {bell}", median(r.per_second for r in found), "per s")
            for bell, found in rounds.items()
        ),
        at_least(f"{name} against no bell", 100 * share, "%", GOAL_SHARE[clients]),
        at_most(f"{name}, rings", rings_per_job(designed), "per job", GOAL_RINGS),
    ]


def rings_per_job(rounds: Sequence[Round]) -> float:
    return sum(found.rings for found in rounds) / sum(found.transactions for found in rounds)


def one_round(database: Database, script: Path, clients: int) -> Round:
    before = int(database.cluster.psql(database.name, "-Atc", READ_RINGS))
    run = pgbench(database, script, clients)
    after = int(database.cluster.psql(database.name, "-Atc", READ_RINGS))
    return Round(run.transactions, run.per_second, after - before)


def pgbench(database: Database, script: Path, clients: int, *, seconds: int = ROUND_SECONDS) -> Run:
    cluster = database.cluster
    command: list[str | Path] = [
        cluster.bin / "pgbench", "-n", "-f", script,
        "-M", "prepared", "-T", str(seconds),
        "-c", str(clients), "-j", "1", "-U", "authenticator",
        "-h", cluster.folder, "-p", str(cluster.port), database.name,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    transactions = re.search(r"actually processed: (\d+)", done.stdout)
    per_second = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert transactions, done.stdout + done.stderr
    assert per_second, done.stdout + done.stderr
    return Run(int(transactions[1]), float(per_second[1]))
