"""The fair tag: in which order jobs of many people are claimed, however they became ready, and that a
priority concerns nobody but its owner."""

import itertools
import threading
from uuid import UUID

import pytest

from tests.fix_postgres import Database
from tests.sql.acting import acting, allow, ask, put, sign_up, some_model
from tests.sql.claiming import Taken, claim, claim_in_turn

pytestmark = pytest.mark.sql

STEP = 1024

# Like the trigger of the view, without the rest of it: ten thousand rows in a second.
BACKLOG = """
    do $$ begin
      alter table private.request disable trigger user;
      alter table private.job disable trigger user;
      for i in 1..{count} loop
        with asked as (insert into private.request (owner, task, text, model, body_hash)
                         values ('{owner}', 'summarize', 'text', 'tiny:latest', '') returning id, job_id)
        insert into private.job (id, request_id, owner, model_id, tag)
          select a.job_id, a.id, '{owner}', {model}, private.fair_tag('{owner}', {model})
            from asked a;
      end loop;
      alter table private.request enable trigger user;
      alter table private.job enable trigger user;
    end $$"""


def owners(claimed: list[Taken]) -> list[UUID]:
    return [job.owner for job in claimed]


def make_backlog(database: Database, owner: UUID, model: int, count: int) -> None:
    with database.connect() as connection:
        connection.execute(BACKLOG.format(owner=owner, model=model, count=count))


def ask_many(database: Database, owner: UUID, count: int, **columns: object) -> None:
    with acting(database, owner) as connection:
        for _ in range(count):
            ask(connection, **columns)


def tags(database: Database, model: int) -> list[int]:
    with database.connect() as connection:
        rows = connection.execute("select tag from private.job where model_id = %s order by id", [model])
        return [int(str(row[0])) for row in rows]


def test_one_row_waits_for_one_row_of_a_backlog_of_ten_thousand(common: Database) -> None:
    model, many, one = some_model(common), sign_up(common), sign_up(common)
    make_backlog(common, many, model, 10_000)
    claim(common, model, 40)
    ask_many(common, one, 1)
    assert one in owners(claim(common, model, 2))


def test_many_people_take_turns(common: Database) -> None:
    model, people = some_model(common), [sign_up(common) for _ in range(12)]
    for person in people:
        ask_many(common, person, 5)
    for _ in range(5):
        turn = [owner for _ in range(3) for owner in owners(claim(common, model, 4))]
        assert sorted(map(str, turn)) == sorted(map(str, people))


def test_who_comes_later_is_served_within_a_round(common: Database) -> None:
    model, people, late = some_model(common), [sign_up(common) for _ in range(6)], sign_up(common)
    for person in people:
        ask_many(common, person, 8)
    claim(common, model, 20)
    ask_many(common, late, 3)
    assert late in owners(claim(common, model, len(people) + 1))


def test_a_cancelled_backlog_is_not_held_against_its_owner(common: Database) -> None:
    model, person, other = some_model(common), sign_up(common), sign_up(common)
    with acting(common, person) as connection:
        for request in [ask(connection) for _ in range(20)]:
            connection.execute("select public.cancel(%s)", [request])
        ask_many(common, other, 5)
        ask(connection)
    assert person in owners(claim(common, model, 2))


def test_models_keep_time_of_their_own(common: Database) -> None:
    person, busy = sign_up(common), some_model(common)
    ask_many(common, person, 5)
    claim(common, busy, 5)
    idle = some_model(common)
    ask_many(common, person, 1)
    assert tags(common, idle) == [STEP // 2]
    assert owners(claim(common, idle, 1)) == [person]


def test_priority_reorders_ones_own_rows(common: Database) -> None:
    model, person = some_model(common), sign_up(common)
    ask_many(common, person, 4)
    ask_many(common, person, 1, priority=-1)
    ask_many(common, person, 1, priority=1)
    assert [job.priority for job in claim_in_turn(common, model, 6)] == [1, 0, 0, 0, 0, -1]


@pytest.mark.parametrize("at_once", [1, 2, 3, 7])
def test_priority_decides_in_claims_of_any_size(at_once: int, common: Database) -> None:
    model, person, other = some_model(common), sign_up(common), sign_up(common)
    for priority in (-1, 0, 1, -1, 0, 1):
        ask_many(common, person, 2, priority=priority)
        ask_many(common, other, 2)
    claimed = [job for _ in range(24) for job in claim(common, model, at_once)]
    priorities = [job.priority for job in claimed if job.owner == person]
    for first in range(0, 12, 4):  # what one claim took comes in no order
        assert abs(sum(priorities[first : first + 4]) - 4 * (1 - first // 4)) <= at_once
    assert len(claimed) == 24


def test_a_priority_makes_nobody_elses_row_later(common: Database) -> None:
    model, person, other = some_model(common), sign_up(common), sign_up(common)
    ask_many(common, other, 20)
    ask_many(common, person, 20, priority=1)
    claimed = owners(claim_in_turn(common, model, 20))
    assert claimed.count(person) == 10


def test_who_asks_with_priority_again_and_again_gets_no_more_than_the_others(common: Database) -> None:
    model, people = some_model(common), [sign_up(common) for _ in range(6)]
    for person in people:
        ask_many(common, person, 1, priority=int(person == people[0]))
    for _ in range(60):  # each asks again when their row was begun
        (job,) = claim(common, model, 1)
        ask_many(common, job.owner, 1, priority=job.priority)
    with common.connect() as connection:
        counts = connection.execute(
            "select count(*) from private.job where model_id = %s and epoch > 0 group by owner", [model]
        ).fetchall()
    assert {count for (count,) in counts} == {10}


def test_a_turn_that_was_lent_goes_to_the_row_it_was_lent_by(common: Database) -> None:
    model, person = some_model(common), sign_up(common)
    ask_many(common, person, 5)
    ask_many(common, person, 1, priority=1)
    before = sorted(tags(common, model))
    claim(common, model, 1)
    with common.connect() as connection:
        left = connection.execute(
            "select tag from private.job where model_id = %s and state = 'ready' order by tag", [model]
        ).fetchall()
    assert [tag for (tag,) in left] == before[1:]


def test_a_row_that_was_begun_before_takes_its_owners_next_turn(common: Database) -> None:
    model, person = some_model(common), sign_up(common)
    ask_many(common, person, 5)
    (first,) = claim(common, model, 1)
    with acting(common, person) as connection:
        put(common, first.request, "failed")
        connection.execute("select public.retry(%s)", [first.request])
    assert claim(common, model, 1) == [first]


def test_rows_that_come_at_once_get_tags_one_step_apart(common: Database) -> None:
    model, person = some_model(common), sign_up(common)
    threads = [threading.Thread(target=ask_many, args=(common, person, 25)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tags(common, model)) == [STEP // 2 + STEP * n for n in range(100)]


def test_rows_that_are_tried_again_stand_one_step_apart(common: Database) -> None:
    model, many = some_model(common), sign_up(common)
    with acting(common, many) as connection:
        requests = [ask(connection) for _ in range(5)]
        for request in requests:
            connection.execute("select public.cancel(%s)", [request])
        for request in requests:
            connection.execute("select public.retry(%s)", [request])
    steps = {later - earlier for earlier, later in itertools.pairwise(tags(common, model))}
    assert steps == {STEP}


@pytest.mark.parametrize("weight", [2, 5, 0.25])
def test_a_weight_is_a_share_over_a_long_backlog(weight: float, common: Database) -> None:
    model, heavy, light = some_model(common), sign_up(common), sign_up(common)
    allow(common, heavy, weight=weight)
    for person in (heavy, light):
        make_backlog(common, person, model, 200)
    claimed = [owner for _ in range(40) for owner in owners(claim(common, model, 4))]
    assert abs(claimed.count(heavy) - 160 * weight / (1 + weight)) <= 2


def test_a_weight_delays_nobody_elses_single_row_by_more_than_its_share(common: Database) -> None:
    model, heavy, one = some_model(common), sign_up(common), sign_up(common)
    allow(common, heavy, weight=10)
    make_backlog(common, heavy, model, 200)
    claim(common, model, 50)
    ask_many(common, one, 1)
    assert one in owners(claim(common, model, 10 // 2 + 2))


@pytest.mark.parametrize("weight", [0.01, 100])
def test_the_heaviest_and_the_lightest_still_take_turns_with_everybody(
    weight: float, common: Database
) -> None:
    model, odd, other = some_model(common), sign_up(common), sign_up(common)
    allow(common, odd, weight=weight)
    for person in (odd, other):
        make_backlog(common, person, model, 210)
    claimed = owners(claim(common, model, 205))
    assert {odd, other} <= set(claimed)
