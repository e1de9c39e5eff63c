"""Changes of many rows: said on purpose, in batches, at a rate, and never in anybody's way."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import pytest

from tests.fix_postgrest import Answer, Rest
from tests.fix_tokens import Person
from tests.postgrest.asking import ASK, NOBODY, ask, put, rows_of
from tests.sql import acting

pytestmark = pytest.mark.services


def fill(api: Rest, person: Person, count: int) -> None:
    for start in range(0, count, 1000):
        body = [ASK] * min(1000, count - start)
        assert api.post("/requests", token=person.token(), json=body).status == 202


def change(api: Rest, person: Person, method: str, query: str, *prefers: str) -> Answer:
    body = {"title": "changed"} if method == "PATCH" else None
    headers = [("Prefer", prefer) for prefer in prefers]
    return api.ask(method, f"/requests{query}", token=person.token(), json=body, headers=headers)


def unchanged(api: Rest, person: Person, count: int) -> bool:
    rows = api.get("/requests?select=title", token=person.token()).json
    return bool(rows == [{"title": None}] * count)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("query", ["", "?", "?select=id", "?select=id&order=id"])
def test_without_a_filter_nothing_is_changed(query: str, method: str, api: Rest) -> None:
    ada = api.tokens.person()
    fill(api, ada, 2)
    for prefers in ([], ["max-affected=1000"], ["return=representation"]):
        answer = change(api, ada, method, query, *prefers)
        assert answer.error == (400, "no_filter"), answer
        assert answer.json["message"].endswith(".")
    assert unchanged(api, ada, 2)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_more_than_a_hundred_rows_are_changed_on_purpose_only(method: str, api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    fill(api, ada, 101)
    fill(api, bob, 100)
    most = "?state=eq.queued"
    assert change(api, bob, method, most).status == 204
    for prefers in (
        [], ["max-affected=100"], ["max-affected=many"], ["return=minimal, max-affected=99"],
        ["max-affected=200, max-affected=5"], ["max-affected=200", "return=minimal"],
    ):  # fmt: skip
        assert change(api, ada, method, most, *prefers).error == (400, "too_many_rows")
    assert unchanged(api, ada, 101)
    assert change(api, ada, method, most, "return=minimal,Max-Affected = 101").status == 204
    assert not unchanged(api, ada, 101)


def test_a_thousand_rows_is_the_most_that_one_change_may_touch(api: Rest) -> None:
    ada = api.tokens.person()
    fill(api, ada, 1001)
    for method in ("PATCH", "DELETE"):
        answer = change(api, ada, method, "?state=eq.queued", "max-affected=5000")
        assert answer.error == (400, "too_many_rows")
        assert "/rpc/clear" in answer.json["message"]


def test_fewer_rows_than_a_hundred_can_be_allowed(api: Rest) -> None:
    ada = api.tokens.person()
    fill(api, ada, 2)
    answer = change(api, ada, "DELETE", "?state=eq.queued", "max-affected=1")
    assert answer.error == (400, "too_many_rows")
    assert change(api, ada, "DELETE", "?state=eq.queued", "max-affected=2").status == 204


def clear(api: Rest, person: Person, state: object) -> Answer:
    return api.post("/rpc/clear", token=person.token(), json={"state": state})


def clear_all(api: Rest, person: Person, state: str) -> list[dict[str, int]]:
    answers = [clear(api, person, state).json]
    while answers[-1]["left"]:
        answers.append(clear(api, person, state).json)
    return answers


@pytest.mark.parametrize(("of_job", "state", "then"), [
    ("ready", "queued", ["cancelled"]), ("running", "running", ["cancelled"]),
    ("waiting", "running", ["cancelled"]), ("done", "done", []), ("failed", "failed", []),
    ("cancelled", "cancelled", []),
])  # fmt: skip
def test_clear_cancels_what_goes_on_and_deletes_what_has_ended(
    of_job: str, state: str, then: list[str], api: Rest
) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    for person in (ada, bob):
        put(api, ask(api, person)["id"], of_job)
    (others,) = rows_of(api, bob)
    for other in {"queued", "running", "done", "failed", "cancelled"} - {state}:
        assert clear(api, ada, other).json == {"cleared": 0, "left": 0}
    assert clear(api, ada, state).json == {"cleared": 1, "left": 0}
    assert [row["state"] for row in rows_of(api, ada)] == then
    assert rows_of(api, bob) == [others]


@pytest.mark.parametrize("state", [None, "", "ready", "QUEUED", "all"])
def test_clear_needs_a_state(state: object, api: Rest) -> None:
    assert clear(api, api.tokens.person(), state).error == (422, "unknown_state")


def test_ten_thousand_requests_are_cancelled_and_deleted_batch_after_batch(api: Rest) -> None:
    ada = api.tokens.person()
    api.query(
        "with asked as (insert into private.request (owner, task, text, model, body_hash)"
        " select %s, 'summarize', 'text', 'tiny:latest', '' from generate_series(1, 10000)"
        " returning id, job_id)"
        " insert into private.job (id, request_id, owner, model_id)"
        " select job_id, id, %s, (select min(id) from private.model) from asked",
        ada.account, ada.account,
    )  # fmt: skip
    for state in ("queued", "cancelled"):
        answers = clear_all(api, ada, state)
        assert len(answers) > 1
        assert sum(answer["cleared"] for answer in answers) == 10_000
    assert rows_of(api, ada) == []


def test_clear_passes_by_what_somebody_holds(api: Rest) -> None:
    ada = api.tokens.person()
    held = ask(api, ada)["id"]
    ask(api, ada)
    with api.database.connect() as worker, worker.transaction():
        worker.execute("select from private.job where request_id = %s for no key update", [held])
        assert clear(api, ada, "queued").json == {"cleared": 1, "left": 1}
    assert clear(api, ada, "queued").json == {"cleared": 1, "left": 0}


def allowed(api: Rest, **columns: Any) -> Person:
    person = api.tokens.person()
    acting.allow(api.database, person.account, **columns)
    return person


def usage(api: Rest, person: Person) -> tuple[object, object]:
    (row,) = api.get("/usage", token=person.token()).json
    return row["changes_per_minute_limit"], row["changes_left"]


def test_changes_have_a_rate(api: Rest) -> None:
    ada = allowed(api, changes_per_minute=3)
    first, second = ask(api, ada)["id"], ask(api, ada)["id"]
    assert usage(api, ada) == (3, 3)
    assert change(api, ada, "PATCH", f"?id=eq.{first}").status == 204
    assert api.post("/rpc/cancel", token=ada.token(), json={"id": first}).status == 200
    assert api.post("/rpc/retry", token=ada.token(), json={"id": first}).status == 200
    assert usage(api, ada) == (3, 0)
    answers = [
        change(api, ada, "DELETE", f"?id=eq.{second}"),
        change(api, ada, "PATCH", f"?id=eq.{second}"),
        api.post("/rpc/cancel", token=ada.token(), json={"id": first}),
        clear(api, ada, "queued"),
    ]
    for answer in answers:
        assert answer.error == (429, "too_many_changes")
        assert 1 <= int(answer.headers["Retry-After"]) <= 21
    assert [row["title"] for row in rows_of(api, ada)] == ["changed", None]


def test_the_rate_counts_rows_and_no_statement_is_too_large_for_it(api: Rest) -> None:
    ada = allowed(api, changes_per_minute=3)
    fill(api, ada, 5)
    assert change(api, ada, "PATCH", "?state=eq.queued").status == 204
    assert usage(api, ada) == (3, 0)
    assert change(api, ada, "DELETE", "?state=eq.queued").error == (429, "too_many_changes")


def test_what_was_refused_or_found_nothing_counts_for_nothing(api: Rest) -> None:
    ada = allowed(api, changes_per_minute=3)
    ask(api, ada)
    assert change(api, ada, "PATCH", f"?id=eq.{NOBODY}").status == 204
    assert change(api, ada, "PATCH", "").status == 400
    assert api.patch("/requests?state=eq.queued", token=ada.token(), json={"priority": 7}).status == 422
    assert usage(api, ada) == (3, 3)


def test_without_a_limit_changes_are_not_counted(api: Rest) -> None:
    ada = allowed(api)
    fill(api, ada, 100)
    for _ in range(8):
        assert change(api, ada, "PATCH", "?state=eq.queued").status == 204
    assert usage(api, ada) == (None, None)
    assert usage(api, api.tokens.person()) == (600, 600)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("table", ["job", "event_cursor"])
def test_who_waits_too_long_is_told_so(table: str, method: str, api: Rest) -> None:
    ada = api.tokens.person()
    ask(api, ada)
    with api.database.connect() as other, other.transaction():
        lock: Any = f"select from private.{table} where owner = %s for update"
        other.execute(lock, [ada.account])
        answer = change(api, ada, method, "?state=eq.queued")
    assert answer.error == (409, "busy")
    assert answer.headers["Retry-After"] == "1"
    assert unchanged(api, ada, 1)


def test_an_insert_that_waits_too_long_is_told_so(api: Rest) -> None:
    ada = api.tokens.person()
    with api.database.connect() as other, other.transaction():
        other.execute("select from private.event_cursor where owner = %s for update", [ada.account])
        answer = api.post("/requests", token=ada.token(), json=ASK)
    assert answer.error == (409, "busy")
    assert rows_of(api, ada) == []


@pytest.mark.parametrize("function", ["cancel", "retry", "clear"])
def test_a_call_that_waits_too_long_is_told_so(function: str, api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada)["id"]
    put(api, request, "failed" if function == "retry" else "ready")
    body = {"state": "queued"} if function == "clear" else {"id": request}
    with api.database.connect() as other, other.transaction():
        other.execute("select from private.event_cursor where owner = %s for update", [ada.account])
        answer = api.post(f"/rpc/{function}", token=ada.token(), json=body)
    assert answer.error == (409, "busy")


FAIL: LiteralString = (
    "update private.job set state = 'failed', error_code = 'x', finished_at = now() where id = %s"
)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("held", [0, 2, 4])
def test_a_bulk_change_and_an_outcome_do_not_lock_each_other_out(held: int, method: str, api: Rest) -> None:
    """A worker's statement holds a job and then wants the event cursor, as a finish does."""
    ada = api.tokens.person()
    fill(api, ada, 5)
    jobs = api.query("select id from private.job where owner = %s order by id", ada.account)
    with ThreadPoolExecutor(1) as pool, api.database.connect() as worker:
        with worker.transaction():
            worker.execute("select from private.job where id = %s for no key update", jobs[held])
            changed = pool.submit(change, api, ada, method, "?task=eq.summarize")
            waits = "select from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
            acting.until(api.database, waits, worker.info.backend_pid)
            worker.execute(FAIL, jobs[held])
        assert changed.result().status == 204
