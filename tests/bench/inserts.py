"""Inserts per second through the view, as a signed-in person, with every slot busy and nobody watching:
the doorbell as designed, no bell at all, and a NOTIFY per row."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

from tests.bench.figures import Figure, at_least, median, shown
from tests.fix_postgres import Database

CLIENTS = (16, 32)
ROUNDS = 7
ROUND_SECONDS = 2
ACCOUNTS = 400
GOAL_SHARE = 85.0

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
NO_BELL = f"{RING} as $$ begin end $$"
EACH_RINGS = f"{RING} as $$ begin perform pg_notify('precis_bell', ''); end $$"


def measure(database: Database, folder: Path) -> list[Figure]:
    """`database` has a model, a worker whose slots are all busy, and no stream."""
    as_designed = database.cluster.psql(database.name, "-Atc", READ_RING)
    database.cluster.psql(database.name, "-c", MAKE_ACCOUNTS.format(accounts=ACCOUNTS))
    script = folder / "insert.sql"
    script.write_text(SCRIPT.format(accounts=ACCOUNTS))
    bells = {"as designed": as_designed, "no bell": NO_BELL, "a NOTIFY per row": EACH_RINGS}
    rates: dict[tuple[int, str], list[float]] = defaultdict(list)
    order = list(bells)
    for _ in range(ROUNDS):
        order.append(order.pop(0))  # no variant always comes first
        for clients in CLIENTS:
            for name in order:
                database.cluster.psql(database.name, "-c", bells[name])
                rates[clients, name].append(pgbench(database, script, clients))
    database.cluster.psql(database.name, "-c", as_designed)
    by_clients = ((clients, {name: rates[clients, name] for name in bells}) for clients in CLIENTS)
    return [figure for clients, found in by_clients for figure in figures(clients, found)]


def figures(clients: int, rates: dict[str, list[float]]) -> list[Figure]:
    """The share is the median of the rounds' own ratios: what slows a whole round slows both sides of it."""
    pairs = zip(rates["as designed"], rates["no bell"], strict=True)
    share = median(with_bell / without for with_bell, without in pairs)
    return [
        *(
            shown(f"inserts, {clients} clients, {bell}", median(found), "per s")
            for bell, found in rates.items()
        ),
        at_least(f"inserts, {clients} clients, as designed against no bell", 100 * share, "%", GOAL_SHARE),
    ]


def pgbench(database: Database, script: Path, clients: int) -> float:
    """Transactions per second."""
    cluster = database.cluster
    command: list[str | Path] = [
        cluster.bin / "pgbench", "-n", "-f", script,
        "-M", "prepared", "-T", str(ROUND_SECONDS),
        "-c", str(clients), "-j", "1", "-U", "authenticator",
        "-h", cluster.folder, "-p", str(cluster.port), database.name,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])
