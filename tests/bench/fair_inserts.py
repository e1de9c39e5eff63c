"""The price of fairness: inserts per second through the view at 16 clients, with the fair tag as designed and
without a tag. Of many people, and of one hot person: those take turns at that person's event counter, tag or
not, so the path without a tag is what the counter alone costs."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.figures import Figure, at_least, median, shown
from tests.bench.ground import migrated
from tests.bench.inserts import MAKE_ACCOUNTS, SCRIPT, pgbench
from tests.fix_postgres import Cluster, Database

CLIENTS = 16
ROUNDS = 7
ROUND_SECONDS = 10  # each begins with new connections, whose first plans one hot person waits for in turn
MANY, ONE = "many people", "one hot person"
PEOPLE = {MANY: 10_000, ONE: 1}
GOALS = {MANY: 80.0, ONE: 95.0}
READ_TAG = "select pg_get_functiondef('private.next_tag'::regproc)"
NO_TAG = """
create or replace function private.next_tag(owner uuid, model private.model, step bigint)
  returns bigint language sql immutable set search_path = '' as $$ select 0::bigint $$
"""
PREPARE = """
select private.add_model('bench');
update private.model set is_default = true;
update private.allowance set requests_per_day = null, requests_waiting = null, bytes_per_day = null;
"""


def measure(cluster: Cluster, *, rounds: int = ROUNDS) -> Iterator[Figure]:
    with migrated(cluster, "fair_inserts") as database, TemporaryDirectory() as folder:
        cluster.psql(database.name, "-c", MAKE_ACCOUNTS.format(accounts=max(PEOPLE.values())))
        cluster.psql(database.name, "-c", PREPARE)
        for who, people in PEOPLE.items():
            script = Path(folder) / "insert.sql"
            script.write_text(SCRIPT.format(accounts=people))
            yield from compare(who, tagged_and_not(database, script, rounds))


def tagged_and_not(database: Database, script: Path, rounds: int) -> dict[str, list[float]]:
    """Inserts per second of each round; no variant always comes first."""
    tags = {"with a fair tag": database.cluster.psql(database.name, "-Atc", READ_TAG), "without": NO_TAG}
    rates: dict[str, list[float]] = defaultdict(list)
    order = list(tags)
    for _ in range(rounds):
        order.append(order.pop(0))
        for name in order:
            database.cluster.psql(database.name, "-c", tags[name])
            rates[name].append(pgbench(database, script, CLIENTS, seconds=ROUND_SECONDS).per_second)
    database.cluster.psql(database.name, "-c", tags["with a fair tag"])
    return rates


def compare(who: str, rates: dict[str, list[float]]) -> Iterator[Figure]:
    for name, found in rates.items():
        yield shown(f"inserts, {CLIENTS} clients, {who}, {name}", median(found), "per s")
    share = median(a / b for a, b in zip(rates["with a fair tag"], rates["without"], strict=True))
    name = f"inserts, {CLIENTS} clients, {who}, with a fair tag against without"
    yield at_least(name, 100 * share, "%", GOALS[who])
