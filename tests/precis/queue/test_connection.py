"""precis.queue.connection: which database is meant, and what a person is told when it does not answer or does
not agree."""

from pathlib import Path

import pytest
from precis.faults import Fault
from precis.layout import Layout
from precis.queue.connection import connected, find, place

from tests.fix_postgres import Cluster, Database

OTHER = "postgresql://precis_owner@db.example.org/precis"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Layout(checkout=tmp_path, config=tmp_path / "config.toml", data=tmp_path / ".precis")


def configured(layout: Layout) -> None:
    layout.config.write_text('[local]\nowner_url = "postgresql://configured/precis"\n')


def test_what_is_said_goes_before_the_environment_and_that_before_the_configuration(layout: Layout) -> None:
    configured(layout)
    environ = {"DATABASE_URL": "postgresql://environ/precis"}
    assert find("postgresql://said/precis", layout, environ) == "postgresql://said/precis"
    assert find(None, layout, environ) == "postgresql://environ/precis"
    assert find(None, layout, {}) == "postgresql://configured/precis"


@pytest.mark.parametrize("line", [
    f"DATABASE_URL={OTHER}", f'DATABASE_URL="{OTHER}"', f"export DATABASE_URL='{OTHER}'",
    f"  DATABASE_URL = {OTHER}  ",
])  # fmt: skip
def test_without_a_stack_it_is_the_database_that_dbmate_migrates(layout: Layout, line: str) -> None:
    layout.dotenv.write_text(f"# DATABASE_URL=postgresql://old/precis\nOTHER=1\n{line}\nMORE=2\n")
    assert find(None, layout, {}) == OTHER


def test_an_env_file_where_one_stands_does_as_well(layout: Layout) -> None:
    Path(".env").write_text(f"DATABASE_URL={OTHER}\n")
    assert find(None, layout, {}) == OTHER


def test_where_none_is_known_a_person_is_told_how_to_name_one(layout: Layout) -> None:
    with pytest.raises(Fault, match="DATABASE_URL") as caught:
        find(None, layout, {})
    assert (caught.value.code, caught.value.exit_code) == ("no_database", 78)


def test_a_url_as_dbmate_takes_it_becomes_one_that_libpq_takes(layout: Layout) -> None:
    given = "postgres://precis_owner@/precis?socket=/run/postgresql&sslmode=disable&search_path=dbmate"
    wanted = "postgres://precis_owner@/precis?host=%2Frun%2Fpostgresql&sslmode=disable"
    assert find(given, layout, {}) == wanted
    assert place(wanted) == "Database precis at /run/postgresql"


def test_a_place_is_told_without_its_password() -> None:
    assert place("postgresql://ann:secret@one,two:5433/precis") == "Database precis at one, two:5433"
    assert place("postgresql://ann:secret@one:5433/precis") == "Database precis at one:5433"


async def failing(url: str, statement: str = "select from private.job") -> Fault:
    with pytest.raises(Fault) as caught:
        async with connected(url) as connection:
            await connection.execute(statement)
    return caught.value


async def test_nobody_there_is_told_with_the_place() -> None:
    fault = await failing("postgresql://precis_owner@127.0.0.1:1/precis")
    assert (fault.code, fault.exit_code) == ("database_unreachable", 69)
    assert fault.message.startswith("Database precis at 127.0.0.1:1: Connection refused. Start it, ")


async def test_what_is_no_address_is_told_with_an_example() -> None:
    fault = await failing("nonsense")
    assert (fault.code, fault.exit_code) == ("bad_database_url", 2)


@pytest.mark.services
async def test_each_refusal_has_its_code_and_says_what_to_do(database: Database, cluster: Cluster) -> None:
    owner = database.url("precis_owner")
    assert (await failing(cluster.url("precis_owner", "postgres"))).code == "not_migrated"
    assert (
        'database "nowhere" does not exist. '
        in (await failing(cluster.url("precis_owner", "nowhere"))).message
    )
    assert (await failing(database.url("listener"), "delete from private.job")).code == "not_permitted"
    assert (await failing(owner, "select private.pause('x')")).code == "unknown_model"
    slow = "set statement_timeout = 1; select pg_sleep(5)"
    assert (await failing(owner, slow)).code == "too_slow"
    assert (await failing(owner, "select pg_terminate_backend(pg_backend_pid())")).code == "connection_lost"
    assert (await failing(owner, "select 1 / 0")).message.endswith("division by zero. [22012]")


@pytest.mark.services
async def test_a_row_that_somebody_holds_is_busy_and_not_waited_for_long(database: Database) -> None:
    with database.connect() as holder, holder.transaction():
        holder.execute("lock table private.allowance")
        fault = await failing(
            database.url("precis_owner"), "set lock_timeout = 1; select from private.allowance"
        )
    assert fault.code == "busy"


@pytest.mark.services
async def test_the_server_sees_who_asks_and_ends_what_takes_too_long(database: Database) -> None:
    async with connected(database.url("precis_owner")) as connection:
        cursor = await connection.execute(
            "select current_setting('application_name'), current_setting('statement_timeout')"
        )
        assert await cursor.fetchone() == ("precis queue", "20s")
