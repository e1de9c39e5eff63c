"""The fair tag: in which order jobs of many people are claimed, and that no tag is ever written below the floor."""

import threading
from uuid import UUID

import pytest

from tests.fix_postgres import Database
from tests.sql.acting import acting, ask, put, sign_up, some_model

pytestmark = pytest.mark.sql

STEP = 1024
HEAD_START_STEPS = 8

# The claim's order, and the clock moved up behind it, as every worker does.
CLAIM = """
    with pick as (select j.id from private.job j where j.state = 'ready' and j.run_at is null and j.model_id = %(model)s
                   order by j.tag, j.id limit %(count)s for no key update skip locked),
         took as (update private.job j set state = 'running', worker_id = 1 where j.id = any (array(select id from pick))
                  returning j.id, j.owner, j.tag, j.priority, j.tag + j.priority * private.head_start() as time),
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
                         values ('{owner}', 'summarize', 'text', 'tiny:latest', '') returning id)
        insert into private.job (request_id, owner, model_id, tag)
          select a.id, '{owner}', {model}, private.fair_tag('{owner}', {model}, 0::smallint) from asked a;
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
        connection.execute(BACKLOG.format(owner=owner, model=model, count=count))  # type: ignore[arg-type]


def ask_many(database: Database, owner: UUID, count: int, **columns: object) -> None:
    with acting(database, owner) as connection:
        for _ in range(count):
            ask(connection, **columns)


def tags(database: Database) -> list[int]:
    with database.connect() as connection:
        return [int(str(row[0])) for row in connection.execute("select tag from private.job order by id")]


def test_one_row_waits_for_one_row_of_a_backlog_of_ten_thousand(database: Database) -> None:
    model, many, one = some_model(database), sign_up(database), sign_up(database)
    make_backlog(database, many, model, 10_000)
    claim(database, model, 40)
    ask_many(database, one, 1)
    assert one in owners(claim(database, model, 2))


def test_many_people_take_turns(database: Database) -> None:
    model, people = some_model(database), [sign_up(database) for _ in range(12)]
    for person in people:
        ask_many(database, person, 5)
    for _ in range(5):
        turn = [owner for _ in range(3) for owner in owners(claim(database, model, 4))]
        assert sorted(map(str, turn)) == sorted(map(str, people))


def test_who_comes_later_is_served_within_a_round(database: Database) -> None:
    model, people, late = some_model(database), [sign_up(database) for _ in range(6)], sign_up(database)
    for person in people:
        ask_many(database, person, 8)
    claim(database, model, 20)
    ask_many(database, late, 3)
    assert late in owners(claim(database, model, len(people) + 1))


def test_a_cancelled_backlog_is_not_held_against_its_owner(database: Database) -> None:
    model, person, other = some_model(database), sign_up(database), sign_up(database)
    with acting(database, person) as connection:
        for request in [ask(connection) for _ in range(20)]:
            connection.execute("select public.cancel(%s)", [request])
        ask_many(database, other, 5)
        ask(connection)
    assert person in owners(claim(database, model, 2))


def test_models_keep_time_of_their_own(database: Database) -> None:
    busy, idle, person = some_model(database), some_model(database, "other:latest", default=False), sign_up(database)
    ask_many(database, person, 5)
    claim(database, busy, 5)
    ask_many(database, person, 1, model="other:latest")
    assert tags(database)[-1] == STEP // 2
    assert owners(claim(database, idle, 1)) == [person]


def test_priority_reorders_ones_own_rows(database: Database) -> None:
    model, person = some_model(database), sign_up(database)
    ask_many(database, person, 4)
    ask_many(database, person, 1, priority=-1)
    ask_many(database, person, 1, priority=1)
    assert [priority for _, priority in claim(database, model, 6)] == [1, 0, 0, 0, 0, -1]


def test_endless_high_priority_delays_a_normal_row_by_its_head_start_only(database: Database) -> None:
    model, person, other = some_model(database), sign_up(database), sign_up(database)
    ask_many(database, person, 1)
    ask_many(database, other, 1)
    ask_many(database, person, 30, priority=1)
    claimed = claim(database, model, HEAD_START_STEPS + 2)
    assert (person, 0) in claimed
    assert (other, 0) in claimed


def test_rows_that_come_at_once_get_tags_one_step_apart(database: Database) -> None:
    some_model(database)
    person = sign_up(database)
    threads = [threading.Thread(target=ask_many, args=(database, person, 25)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tags(database)) == [STEP // 2 + STEP * n for n in range(100)]


@pytest.mark.parametrize("priority", [-1, 0, 1])
@pytest.mark.parametrize("way", ["insert", "retry", "patch"])
def test_no_tag_is_written_below_the_floor(way: str, priority: int, database: Database) -> None:
    model, person = some_model(database), sign_up(database)
    with acting(database, person) as connection, database.connect() as other:
        early = ask(connection, priority=priority)
        other.execute("select setval(clock, 1000000) from private.model where id = %s", [model])
        if way == "insert":
            ask(connection, priority=priority)
        elif way == "retry":
            put(database, early, "failed")
            connection.execute("select public.retry(%s)", [early])
        else:
            connection.execute("update public.requests set priority = %s where id = %s", [-priority or 1, early])
        row = other.execute("select max(tag) >= 1000000 - private.head_start() from private.job").fetchone()
    assert row == (True,)
