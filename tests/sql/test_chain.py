"""Each SQL function has one file, and the migrations make just that of it."""

import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from tests.fix_postgres import ROOT, Database
from tests.sql.portrait import portrait

pytestmark = pytest.mark.sql

SQL = ROOT / "sql"
chain = SimpleNamespace(**runpy.run_path(str(SQL / "chain.py")))
FUNCTIONS = """
select distinct n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
 where n.nspname in ('public', 'gate', 'private')
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Of the folder sql, where a test may change functions."""
    tmp_path.chmod(0o755)
    for folder in ("functions", "migrations"):
        shutil.copytree(SQL / folder, tmp_path / folder)
    return tmp_path


def test_the_migrations_make_what_the_files_of_the_functions_say() -> None:
    assert chain.last_texts() == chain.canonical(), "run: make sql"


def test_every_function_has_its_file(catalogue: psycopg.Connection[tuple[object, ...]]) -> None:
    made = {str(name) for (name,) in catalogue.execute(FUNCTIONS)}
    assert made == {file.stem for file in (SQL / "functions").glob("*.sql")}


@pytest.mark.parametrize("file", sorted((SQL / "functions").glob("*.sql")), ids=lambda file: file.stem)
def test_the_file_of_a_function_has_the_agreed_form(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").split("\n")
    assert lines[0].startswith(f"create or replace function {file.stem}(")
    assert "" not in lines[:-1]  # an empty line would end its section in a migration
    assert lines[-1] == ""


def test_the_files_can_be_applied_again_and_change_nothing(database: Database) -> None:
    before = portrait(database)
    for file in sorted((SQL / "functions").glob("*.sql")):
        database.cluster.psql(database.name, "-c", "set role precis_owner", "-f", str(file))
    assert portrait(database) == before


def change(function: Path) -> None:
    function.write_text(function.read_text("utf-8").replace("is '", "is 'Changed: "), "utf-8")


def test_a_new_migration_brings_what_has_changed_and_takes_it_back(database: Database, copy: Path) -> None:
    before = portrait(database)
    change(copy / "functions/gate.uid.sql")
    (copy / "functions/gate.novel.sql").write_text(
        "create or replace function gate.novel() returns int language sql return 1;\n"
        "comment on function gate.novel() is 'New.';\n",
        "utf-8",
    )
    migration = chain.new("change_uid", copy)
    assert migration.name.endswith("_change_uid.sql")
    dbmate = ("-d", str(copy / "migrations"))
    database.cluster.dbmate(database.name, *dbmate, "up")
    changed = portrait(database)
    assert "Changed: The account" in changed
    assert "gate.novel()" in changed
    database.cluster.dbmate(database.name, *dbmate, "rollback")
    assert portrait(database) == before


def test_folding_writes_into_the_baseline_and_tells_what_has_no_place_there(copy: Path) -> None:
    change(copy / "functions/gate.uid.sql")
    (copy / "functions/gate.novel.sql").write_text("create or replace function gate.novel() ...\n", "utf-8")
    assert chain.fold(copy) == ["functions/gate.novel.sql"]
    texts = chain.last_texts(copy)
    assert "Changed: The account" in texts["functions/gate.uid.sql"]
    assert chain.fold(copy) == ["functions/gate.novel.sql"]
    assert chain.last_texts(copy) == texts
