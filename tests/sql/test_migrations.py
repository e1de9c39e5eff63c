"""The migrations go up from nothing, down to nothing, and up again to the same, file by file and as a
whole."""

import shutil
from pathlib import Path

import pytest

from tests.fix_postgres import ROOT, Database
from tests.sql.acting import acting, sign_up, some_model
from tests.sql.portrait import portrait

pytestmark = pytest.mark.sql

FILES = sorted((ROOT / "sql/migrations").glob("*.sql"))


def down_to_nothing(database: Database) -> None:
    for _ in FILES:
        database.cluster.dbmate(database.name, "rollback")


def test_down_to_nothing_leaves_nothing_and_up_again_gives_the_same(empty: Database) -> None:
    before = portrait(empty)
    empty.cluster.dbmate(empty.name, "up")
    after = portrait(empty)
    assert after != before
    down_to_nothing(empty)
    assert portrait(empty) == before
    with empty.connect() as connection:
        assert connection.execute("select from dbmate.schema_migrations").fetchall() == []
    empty.cluster.dbmate(empty.name, "up")
    assert portrait(empty) == after


def test_each_file_can_be_taken_back_and_done_again(empty: Database, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    after = portrait(empty)
    for file in FILES:
        before = after
        shutil.copy(file, tmp_path)
        empty.cluster.dbmate(empty.name, "-d", str(tmp_path), "up")
        after = portrait(empty)
        empty.cluster.dbmate(empty.name, "-d", str(tmp_path), "rollback")
        assert portrait(empty) == before, file.name
        empty.cluster.dbmate(empty.name, "-d", str(tmp_path), "up")
        assert portrait(empty) == after, file.name


def test_a_database_in_use_can_be_taken_down_to_nothing_as_well(empty: Database) -> None:
    before = portrait(empty)
    empty.cluster.dbmate(empty.name, "up")
    account, _ = sign_up(empty), some_model(empty)
    with acting(empty, account) as connection:
        connection.execute("insert into public.requests (task, text) values ('summarize', 'Some text.')")
    down_to_nothing(empty)
    assert portrait(empty) == before


def test_up_twice_changes_nothing(database: Database) -> None:
    before = portrait(database)
    database.cluster.dbmate(database.name, "up")
    assert portrait(database) == before


def test_the_roles_can_be_made_again(database: Database) -> None:
    before = portrait(database)
    database.cluster.psql("postgres", "-f", str(ROOT / "sql/roles.sql"))
    assert portrait(database) == before


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem.partition("_")[2])
def test_a_migration_file_has_the_agreed_form(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    head, up, down = text.replace("-- migrate:down", "-- migrate:up").split("-- migrate:up\n")
    assert file.stem[:14].isdigit()
    assert file.stem[14] == "_"
    assert head.startswith("-- ")
    assert "\n-- Locks: " in head
    assert up.rstrip().endswith("notify pgrst, 'reload schema';")
    assert down.rstrip().endswith("notify pgrst, 'reload schema';")
