"""The demo data: every state that a person should have seen once, for an account that is there already."""

import subprocess
from typing import Any

import pytest

from listener.checks import report as checks
from tests.fix_postgres import ROOT, Database
from tests.sql.acting import Connection, acting, sign_up, some_model

pytestmark = pytest.mark.sql

SEEDS = str(ROOT / "sql/seeds/demo.sql")


def seed(database: Database, role: str, email: str) -> str:
    """Runs the file; what psql says."""
    program = str(database.cluster.bin / "psql")
    command = [program, "-X", "-v", f"email={email}", "-f", SEEDS, database.url(role)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def email_of(database: Database, account: object) -> str:
    with database.connect() as connection:
        return str(
            connection.execute("select email from private.account where id = %s", [account]).fetchall()[0][0]
        )


def rows(person: Connection) -> list[tuple[object, ...]]:
    return person.execute("""
        select state, result is not null, error_code, run_at > now() from public.requests
         order by created_at""").fetchall()


@pytest.mark.parametrize("role", ["precis_owner", "postgres"])
def test_it_gives_an_account_requests_in_several_states_once(role: str, common: Database) -> None:
    some_model(common)
    account = sign_up(common)
    email = email_of(common, account)
    assert seed(common, role, email.upper()) == ""
    with acting(common, account) as person:
        first = rows(person)
        seed(common, role, email)
        assert rows(person) == first
    assert first == [
        ("done", True, None, None), ("done", True, None, None), ("failed", False, "input_too_long", None),
        ("cancelled", False, None, None), ("queued", False, None, True),
    ]  # fmt: skip


def test_what_ran_has_an_attempt_that_ended_as_it_did(common: Database) -> None:
    some_model(common)
    account = sign_up(common)
    for _ in range(2):
        seed(common, "precis_owner", email_of(common, account))
    with acting(common, account) as person:
        assert person.execute("""
            select r.state, count(a.outcome), bool_and(a.outcome = r.state and a.ended_at = r.finished_at)
              from public.requests r left join public.attempts a on a.request_id = r.id
             group by 1 order by 1""").fetchall() == [
            ("cancelled", 0, None), ("done", 2, True), ("failed", 1, True), ("queued", 0, None),
        ]  # fmt: skip


def test_it_works_before_any_worker_has_announced_a_model(database: Database) -> None:
    account = sign_up(database)
    seed(database, "precis_owner", email_of(database, account))
    with acting(database, account) as person:
        assert person.execute("select distinct model from public.requests").fetchall() == [
            ("extractive:latest",)
        ]


def test_it_says_what_to_do_when_there_is_no_such_account(common: Database) -> None:
    with pytest.raises(AssertionError, match="There is no account nobody@example"):
        seed(common, "postgres", "nobody@example.com")


def test_its_checks_are_what_the_checks_make_of_its_results(common: Database) -> None:
    account = sign_up(common)
    seed(common, "postgres", email_of(common, account))
    with acting(common, account) as person:
        done: list[tuple[Any, ...]] = person.execute("""
            select text, result, task, target_words, target_ratio, checks from public.requests
             where state = 'done'""").fetchall()
    for text, result, task, words, ratio, stored in done:
        assert stored == checks.run(
            source=text, output=result, task=task, target_words=words, target_ratio=ratio
        )
