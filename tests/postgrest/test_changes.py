"""What a person may do to a request that is there: title, priority, time, cancel, retry, delete. And nobody
else."""

from typing import Any

import pytest

from tests.fix_postgrest import Rest
from tests.fix_tokens import Person
from tests.postgrest.asking import NOBODY, WITH_ROW, ask, put, rows_of

pytestmark = pytest.mark.services

TOMORROW = "2026-12-24T12:00:00+00:00"


def patch(api: Rest, person: Person, request: str, **columns: Any) -> Any:
    return api.patch(f"/requests?id=eq.{request}", token=person.token(), json=columns, headers=WITH_ROW)


def call(api: Rest, person: Person, function: str, request: str) -> Any:
    return api.post(f"/rpc/{function}", token=person.token(), json={"id": request})


@pytest.mark.parametrize("columns", [
    {"title": "Mine"}, {"title": None}, {"priority": 1}, {"run_at": TOMORROW},
    {"title": "T", "priority": -1, "run_at": TOMORROW}, {},
], ids=str)  # fmt: skip
def test_patch_changes_what_may_change_and_nothing_else(columns: dict[str, Any], api: Rest) -> None:
    ada = api.tokens.person()
    before = ask(api, ada, title="Old")
    answer = patch(api, ada, before["id"], **columns)
    (row,) = rows_of(api, ada)
    assert answer.status == 200
    assert row == before | columns | {"updated_at": row["updated_at"]}


@pytest.mark.parametrize(("columns", "error"), [
    ({"text": "Another."}, (422, "read_only_column")), ({"state": "queued"}, (422, "read_only_column")),
    ({"result": None}, (422, "read_only_column")),
    ({"title": "T", "state": "done"}, (422, "read_only_column")),
    ({"target_words": 5}, (422, "read_only_column")), ({"id": NOBODY}, (422, "read_only_column")),
    ({"owner": NOBODY}, (400, "PGRST204")),
    ({"colour": "red"}, (400, "PGRST204")),
    ({"title": "x" * 301}, (422, "title_too_long")), ({"title": "a\0b"}, (400, "22P05")),
    ({"priority": 2}, (422, "invalid_priority")), ({"run_at": "infinity"}, (422, "invalid_run_at")),
    ({"title": "T", "priority": 2}, (422, "invalid_priority")), ({"run_at": "soon"}, (400, "22007")),
], ids=str)  # fmt: skip
def test_patch_refuses_the_rest(columns: dict[str, Any], error: tuple[int, str], api: Rest) -> None:
    ada = api.tokens.person()
    before = ask(api, ada)
    assert patch(api, ada, before["id"], **columns).error == error
    assert rows_of(api, ada) == [before]


@pytest.mark.parametrize("state", ["running", "waiting", "done", "failed", "cancelled"])
def test_patch_of_priority_is_for_queued_requests(state: str, api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada)["id"]
    put(api, request, state)
    assert patch(api, ada, request, priority=1).error == (409, "not_queued")
    assert patch(api, ada, request, title="Mine").status == 200


def test_patch_back_to_no_time_is_now(api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada, run_at=TOMORROW)["id"]
    (row,) = patch(api, ada, request, run_at=None).json
    assert row["run_at"] is None


@pytest.mark.parametrize("state", ["ready", "running", "waiting", "cancelled"])
def test_cancel_answers_the_cancelled_row(state: str, api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada)["id"]
    put(api, request, state)
    answer = call(api, ada, "cancel", request)
    assert answer.status == 200
    assert [(row["id"], row["state"]) for row in answer.json] == [(request, "cancelled")]
    assert rows_of(api, ada) == answer.json


@pytest.mark.parametrize("state", ["done", "failed"])
def test_cancel_of_what_has_ended_is_refused(state: str, api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada)["id"]
    put(api, request, state)
    assert call(api, ada, "cancel", request).error == (409, "already_finished")


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_retry_queues_again(state: str, api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada)["id"]
    put(api, request, state)
    answer = call(api, ada, "retry", request)
    assert answer.status == 200
    assert [(row["id"], row["state"], row["error_code"]) for row in answer.json] == [
        (request, "queued", None)
    ]


@pytest.mark.parametrize("state", ["ready", "running", "waiting", "done"])
def test_retry_of_what_did_not_go_wrong_is_refused(state: str, api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada)["id"]
    put(api, request, state)
    assert call(api, ada, "retry", request).error == (409, "not_failed")


@pytest.mark.parametrize(("prefer", "status"), [("return=minimal", 204), ("return=representation", 200)])
def test_delete_forgets_the_request_and_its_result(prefer: str, status: int, api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada)["id"]
    put(api, request, "done")
    api.query(
        "insert into private.result (request_id, owner, epoch, body) values (%s, %s, 1, 'Short.')",
        request,
        ada.account,
    )
    answer = api.delete(f"/requests?id=eq.{request}", token=ada.token(), headers={"Prefer": prefer})
    assert answer.status == status
    assert rows_of(api, ada) == []
    assert api.query("select from private.result where request_id = %s", request) == []


def test_a_deleted_request_frees_its_key(api: Rest) -> None:
    ada = api.tokens.person()
    headers = {"Idempotency-Key": "one"}
    body = {"task": "summarize", "text": "Some text."}
    statuses = []
    for _ in range(2):
        statuses.append(api.post("/requests", token=ada.token(), json=body, headers=headers).status)
        api.delete("/requests?id=not.is.null", token=ada.token())
    assert statuses == [202, 202]


def test_others_cannot_change_a_request_nor_tell_it_from_none(api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    row = ask(api, ada)
    put(api, row["id"], "failed")
    before = rows_of(api, ada)
    assert patch(api, bob, row["id"], title="Bob's").json == []
    assert api.delete(f"/requests?id=eq.{row['id']}", token=bob.token(), headers=WITH_ROW).json == []
    for function in ("cancel", "retry"):
        foreign = call(api, bob, function, row["id"])
        unknown = call(api, bob, function, NOBODY)
        assert foreign.error == (404, "request_not_found")
        assert foreign.text == unknown.text
    assert rows_of(api, ada) == before


def test_changes_of_everything_touch_ones_own_rows_only(api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    row = ask(api, ada)
    ask(api, bob)
    api.patch("/requests?id=not.is.null", token=bob.token(), json={"title": "Bob's"})
    assert [mine["title"] for mine in rows_of(api, bob)] == ["Bob's"]
    api.delete("/requests?id=not.is.null", token=bob.token())
    assert rows_of(api, bob) == []
    assert rows_of(api, ada) == [row]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT"])
def test_the_anonymous_change_nothing(method: str, api: Rest) -> None:
    ada = api.tokens.person()
    row = ask(api, ada)
    answer = api.ask(
        method, f"/requests?id=eq.{row['id']}", json={"task": "summarize", "text": "Text.", "id": row["id"]}
    )
    assert answer.status == 401
    assert rows_of(api, ada) == [row]
    for function in ("cancel", "retry"):
        assert api.post(f"/rpc/{function}", json={"id": row["id"]}).status == 401
    assert rows_of(api, ada) == [row]


def test_a_get_changes_nothing(api: Rest) -> None:
    ada = api.tokens.person()
    row = ask(api, ada)
    assert api.get(f"/rpc/cancel?id={row['id']}", token=ada.token()).error == (405, "25006")
    override = {"X-HTTP-Method-Override": "DELETE", "X-Method-Override": "DELETE"}
    assert api.get(f"/requests?id=eq.{row['id']}", token=ada.token(), headers=override).status == 200
    assert api.ask("HEAD", f"/requests?id=eq.{row['id']}", token=ada.token()).text == ""
    assert rows_of(api, ada) == [row]
