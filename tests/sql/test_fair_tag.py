"""The fair tag: in which order jobs of many people are claimed, and that no tag is ever written below the
floor."""

import itertools
import threading
from uuid import UUID

import pytest

from tests.fix_postgres import Database
from tests.sql.acting import acting, allow, ask, put, sign_up, some_model

pytestmark = pytest.mark.sql

STEP = 1024
HEAD_START_STEPS = 8

# The claim's order, and the clock moved up behind it, as every worker does.
CLAIM = """
    with pick as (select j.id from private.job j where j.state = 'ready' and j.run_at is null and j.model_id
      = %(model)s
                   order by j.tag, j.id limit %(count)s for no key update skip locked),
         took as (update private.job j set state = 'running', worker_id = 1 where j.id = any (array(select id
           from pick))
                  returning j.id, j.owner, j.tag, j.priority, j.tag + j.priority * private.head_start() as
                    time),
         moved as (select setval(m.clock, greatest(coalesce(pg_sequence_last_value(m.clock), 0), max(t.time)))
                     from took t, private.model m where m.id = %(model)s group by m.clock)
    select owner, priority from took, moved order by tag, id"""

# Like the trigger of the view, without the rest of it: ten thousand rows in a second.
BACKLOG = """
    do $$ begin
      alter table private.request disable trigger user;
      alter table private.job disable trigger user;
      for i in 1..{count} loop
        with asked as (insert into private.request (owner, task, text, model, body_hash)
                         values ('{owner}', 'summarize', 'text', 'tiny:latest', '') returning id, job_id)
        insert into private.job (id, request_id, owner, model_id, tag)
          select a.job_id, a.id, '{owner}', {model}, private.fair_tag('{owner}', {model}, 0::smallint)
            from asked a;
      end loop;
      alter table private.request enable trigger user;
      alter table private.job enable trigger user;
    end $$"""


def claim(database: Database, model: int, count: int) -> list[tuple[object, ...]]:
    """(owner, priority) of the jobs that the next claim takes, in order."""
    with database.connect("listener") as connection:
        return connection.execute(CLAIM, {"model": model, "count": count}).fetchall()


def owners(claimed: list[tuple[object, ...]]) -> list[object]:
    return [row[0] for row in claimed]


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
    assert [priority for _, priority in claim(common, model, 6)] == [1, 0, 0, 0, 0, -1]


def test_endless_high_priority_delays_a_normal_row_by_its_head_start_only(common: Database) -> None:
    model, person, other = some_model(common), sign_up(common), sign_up(common)
    ask_many(common, person, 1)
    ask_many(common, other, 1)
    ask_many(common, person, 30, priority=1)
    claimed = claim(common, model, HEAD_START_STEPS + 2)
    assert (person, 0) in claimed
    assert (other, 0) in claimed


def test_rows_that_come_at_once_get_tags_one_step_apart(common: Database) -> None:
    model, person = some_model(common), sign_up(common)
    threads = [threading.Thread(target=ask_many, args=(common, person, 25)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tags(common, model)) == [STEP // 2 + STEP * n for n in range(100)]


@pytest.mark.parametrize("priority", [-1, 0, 1])
@pytest.mark.parametrize("way", ["insert", "retry", "patch"])
def test_no_tag_is_written_below_the_floor(way: str, priority: int, common: Database) -> None:
    model, person = some_model(common), sign_up(common)
    with acting(common, person) as connection, common.connect() as other:
        early = ask(connection, priority=priority)
        other.execute("select setval(clock, 1000000) from private.model where id = %s", [model])
        if way == "insert":
            ask(connection, priority=priority)
        elif way == "retry":
            put(common, early, "failed")
            connection.execute("select public.retry(%s)", [early])
        else:
            connection.execute(
                "update public.requests set priority = %s where id = %s", [-priority or 1, early]
            )
        row = other.execute(
            "select max(tag) >= 1000000 - private.head_start() from private.job where model_id = %s", [model]
        ).fetchone()
    assert row == (True,)


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
