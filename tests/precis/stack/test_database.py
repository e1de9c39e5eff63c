"""precis.stack.database: roles, our database and its migrations on a real server, again and again."""

import asyncio
import base64
import dataclasses
import hashlib
import hmac
from pathlib import Path

import psycopg
import pytest
from precis.faults import PartFailed
from precis.layout import locate
from precis.setup import config
from precis.setup.settings import StackSettings, load
from precis.stack import database, postgres

from tests.fix_postgres import Cluster, running_cluster

pytestmark = pytest.mark.services

CHECKOUT = Path(__file__).resolve().parents[3]
PSQL = postgres.wheel_binaries() / "psql"


@pytest.fixture
def settings(tmp_path: Path, cluster: Cluster) -> StackSettings:
    """For a database of its own: the shared cluster has none called precis."""
    layout = locate({"PRECIS_CONFIG": str(tmp_path / "config.toml")})
    config.fill(layout, cluster.url("postgres", "postgres"))
    return load(StackSettings, layout)


def test_a_server_is_prepared_once_and_then_left_as_it_is(settings: StackSettings) -> None:
    with running_cluster() as own:
        url = own.url("postgres", "postgres")
        here = at(settings, own)
        first = asyncio.run(database.prepare(url, here, CHECKOUT, PSQL))
        second = asyncio.run(database.prepare(url, here, CHECKOUT, PSQL))
        with psycopg.connect(here.authsvc_url) as connection:
            owner = connection.execute(
                "select pg_get_userbyid(datdba) from pg_database where datname = 'precis'"
            )
            assert owner.fetchone() == ("precis_owner",)
        assert not asyncio.run(database.is_open_to_patterns(here.owner_url))
        own.psql("precis", "-c", "grant execute on function textregexeq(text, text) to public")
        assert asyncio.run(database.is_open_to_patterns(here.owner_url))
        asyncio.run(database.prepare(url, here, CHECKOUT, PSQL))
        assert not asyncio.run(database.is_open_to_patterns(here.owner_url))
    assert first.endswith("migrations applied")
    assert second == "up to date"


async def test_two_starts_at_once_do_not_run_a_migration_twice(
    cluster: Cluster, settings: StackSettings
) -> None:
    fresh = cluster.create_database("raced")
    owner_url = fresh.url("precis_owner")
    said = await asyncio.gather(*(database.migrate(owner_url, CHECKOUT) for _ in range(3)))
    assert sorted(said)[1:] == ["up to date", "up to date"]


async def test_a_migration_that_fails_is_told_with_its_last_lines(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "sql/migrations"
    folder.mkdir(parents=True)
    (folder / "20260101000000_break.sql").write_text(
        "-- migrate:up\nselect no_such_thing;\n-- migrate:down\nselect 1;\n"
    )
    url = cluster.create_database("broken").url("precis_owner")
    with pytest.raises(PartFailed, match="A migration failed") as raised:
        await database.migrate(url, tmp_path)
    assert any("no_such_thing" in line for line in raised.value.lines)


async def test_passwords_of_any_letters_reach_the_roles_and_no_command_line(
    cluster: Cluster, settings: StackSettings
) -> None:
    odd = 'it\'s \\ "odd" :x %41'
    url = config.database_url(cluster.url("x", "x"), "authsvc", odd)
    assert database.password_of(url) == odd
    changed = dataclasses.replace(settings, authsvc_url=url)
    await database.make_roles(cluster.url("postgres", "postgres"), changed, CHECKOUT / "sql/roles.sql", PSQL)
    hashed = cluster.psql(
        "postgres", "-At", "-c", "select rolpassword from pg_authid where rolname = 'authsvc'"
    )
    assert scram_matches(hashed.strip(), odd)


def at(settings: StackSettings, cluster: Cluster) -> StackSettings:
    server = cluster.url("postgres", "postgres")
    names = {"owner_url": "precis_owner", "postgrest_url": "authenticator", "authsvc_url": "authsvc",
             "work_url": "listener", "events_url": "listener_events"}  # fmt: skip
    urls = {name: config.database_url(server, role, "secret") for name, role in names.items()}
    return dataclasses.replace(settings, postgres_url=server, **urls)


def scram_matches(stored: str, password: str) -> bool:
    """Whether Postgres keeps this password: its SCRAM secret, computed again."""
    _, parameters, keys = stored.split("$")
    iterations, salt = parameters.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return base64.b64encode(hashlib.sha256(client_key).digest()).decode() == keys.split(":")[0]
