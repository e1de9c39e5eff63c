"""Both ends of the range of PostgreSQL versions: in this folder every database is one on each of them in
turn.

`common` is shared by all tests of a run that bring people and a model of their own; a clone for each would
take most of
the time. `database` is a clone, `empty` has no migration, `settled` is never changed."""

import contextlib
import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.fix_postgres import DEFAULT_VERSION, Cluster, Database
from tests.sql.servers import Servers

VERSIONS = ("15", "18")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers(cluster: Cluster) -> Iterator[Servers]:
    with contextlib.ExitStack() as stack:
        yield Servers(stack, {DEFAULT_VERSION: cluster})


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest, servers: Servers) -> str:
    try:
        servers.cluster(request.param)
    except FileNotFoundError as missing:
        if os.environ.get("PRECIS_REQUIRE_ALL"):
            raise
        pytest.skip(str(missing))
    return str(request.param)


def _made(server: Cluster, template: str | None) -> Iterator[Database]:
    name = f"sql_{next(_numbers)}"
    yield server.create_database(name, template=template)
    server.psql("postgres", "-c", f'drop database "{name}" with (force)')


@pytest.fixture
def database(servers: Servers, version: str) -> Iterator[Database]:
    yield from _made(servers.cluster(version), "template_precis")


@pytest.fixture
def empty(servers: Servers, version: str) -> Iterator[Database]:
    yield from _made(servers.cluster(version), None)


@pytest.fixture
def common(servers: Servers, version: str) -> Database:
    return servers.kept(version, "common")


@pytest.fixture
def settled(servers: Servers, version: str) -> Database:
    return servers.kept(version, "settled")


@pytest.fixture
def catalogue(settled: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Reads the system catalogues of a migrated database."""
    with settled.connect() as connection:
        connection.execute("set default_transaction_read_only = on")
        yield connection
