"""Both ends of the range of PostgreSQL versions: in this folder `database` is a clone on each of them in turn."""

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.fix_postgres import DEFAULT_VERSION, Cluster, Database, running_cluster

VERSIONS = ("15", "18")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster_of(cluster: Cluster) -> Iterator[Callable[[str], Cluster]]:
    """The cluster of a version, started when it is first asked for and kept: random order asks in turns."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def of(version: str) -> Cluster:
            if version == DEFAULT_VERSION:
                return cluster
            running = stack.enter_context(running_cluster(version))
            running.create_database("template_precis")
            running.dbmate("template_precis", "up")
            return running

        yield of


@pytest.fixture(params=VERSIONS)
def server(request: pytest.FixtureRequest, cluster_of: Callable[[str], Cluster]) -> Cluster:
    try:
        return cluster_of(request.param)
    except FileNotFoundError as missing:
        if os.environ.get("PRECIS_REQUIRE_ALL"):
            raise
        pytest.skip(str(missing))


def _made(server: Cluster, template: str | None) -> Iterator[Database]:
    name = f"sql_{next(_numbers)}"
    yield server.create_database(name, template=template)
    server.psql("postgres", "-c", f'drop database "{name}" with (force)')


@pytest.fixture
def database(server: Cluster) -> Iterator[Database]:
    yield from _made(server, "template_precis")


@pytest.fixture
def empty(server: Cluster) -> Iterator[Database]:
    """A database that no migration has touched."""
    yield from _made(server, None)


@pytest.fixture
def settled(server: Cluster) -> Database:
    """A migrated database that all tests of a run share, because none of them can change it. No clone: a clone has not
    the privileges on the database itself."""
    if not server.psql("postgres", "-At", "-c", "select 1 from pg_database where datname = 'settled'"):
        server.create_database("settled")
        server.dbmate("settled", "up")
    return Database(server, "settled")


@pytest.fixture
def catalogue(settled: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Reads the system catalogues of a migrated database."""
    with settled.connect() as connection:
        connection.execute("set default_transaction_read_only = on")
        yield connection
