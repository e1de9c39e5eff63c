"""Quotas over HTTP: what a refusal looks like, when it says to come back; /usage and /attempts beside it."""

from typing import Any

import pytest

from tests.fix_postgrest import Answer, Rest
from tests.fix_tokens import Person
from tests.postgrest.asking import ASK, WITH_ROW, ask, put, rows_of
from tests.sql.acting import allow

pytestmark = pytest.mark.services

SIZE = len(ASK["text"])
DAY_SECONDS = 24 * 60 * 60
LIMITS = [
    ("requests_waiting", 1, "too_many_waiting", range(30, 31)),
    ("requests_per_day", 1, "daily_requests_used", range(1, DAY_SECONDS + 1)),
    ("bytes_per_day", SIZE, "daily_bytes_used", range(1, DAY_SECONDS + 1)),
]


def with_quota(api: Rest, **limits: Any) -> Person:
    person = api.tokens.person()
    allow(api.database, person.account, **limits)
    return person


def post(api: Rest, person: Person, **headers: str) -> Answer:
    return api.post("/requests", token=person.token(), json=ASK, headers=WITH_ROW | headers)


def usage(api: Rest, person: Person) -> dict[str, Any]:
    (row,) = api.get("/usage", token=person.token()).json
    return dict(row)


@pytest.mark.parametrize(("limit", "most", "code", "seconds"), LIMITS)
def test_a_quota_that_is_used_up_is_a_429_that_says_when_to_come_back(
    limit: str, most: int, code: str, seconds: range, api: Rest
) -> None:
    ada = with_quota(api, **{limit: most})
    assert post(api, ada).status == 202
    answer = post(api, ada)
    assert answer.error == (429, code)
    assert set(answer.json) == {"code", "message", "details", "hint"}
    assert str(most) in answer.json["message"]
    assert answer.json["message"].endswith(".")
    assert answer.json["hint"] == "GET /usage shows what is left."
    (retry_after,) = answer.headers.get_all("Retry-After") or []
    assert int(retry_after) in seconds
    assert answer.headers["Content-Type"].startswith("application/json")
    assert len(rows_of(api, ada)) == 1


@pytest.mark.parametrize(("limit", "most"), [limit[:2] for limit in LIMITS])
def test_a_replay_is_answered_although_the_quota_is_used_up(limit: str, most: int, api: Rest) -> None:
    key = len("one") if limit == "bytes_per_day" else 0
    ada = with_quota(api, **{limit: most + key})
    first, again = (post(api, ada, **{"Idempotency-Key": "one"}) for _ in range(2))
    assert (first.status, again.status) == (202, 200)
    assert again.json == first.json
    assert post(api, ada, **{"Idempotency-Key": "two"}).status == 429


def test_several_rows_in_one_post_count_each_and_are_refused_together(api: Rest) -> None:
    ada = with_quota(api, requests_per_day=3)
    answer = api.post("/requests", token=ada.token(), json=[ASK] * 4)
    assert answer.error == (429, "daily_requests_used")
    assert usage(api, ada)["requests_today"] == 0
    assert api.post("/requests", token=ada.token(), json=[ASK] * 3).status == 202
    assert usage(api, ada)["requests_left"] == 0


def test_a_place_in_the_queue_is_free_again_when_a_request_ends_or_goes(api: Rest) -> None:
    ada = with_quota(api, requests_waiting=1)
    request = ask(api, ada)["id"]
    assert post(api, ada).error == (429, "too_many_waiting")
    api.post("/rpc/cancel", token=ada.token(), json={"id": request})
    other = ask(api, ada)["id"]
    retry = api.post("/rpc/retry", token=ada.token(), json={"id": request})
    assert retry.error == (429, "too_many_waiting")
    assert retry.headers["Retry-After"] == "30"
    api.delete(f"/requests?id=eq.{other}", token=ada.token())
    assert api.post("/rpc/retry", token=ada.token(), json={"id": request}).status == 200


def test_ones_quota_is_nobody_elses(api: Rest) -> None:
    ada, bob = with_quota(api, requests_waiting=1), with_quota(api, requests_waiting=1)
    ask(api, ada), ask(api, bob)
    assert (usage(api, ada)["requests_waiting"], usage(api, bob)["requests_waiting"]) == (1, 1)


def test_usage_is_one_row_of_what_is_used_and_what_is_left(api: Rest) -> None:
    ada = with_quota(api, requests_waiting=5, bytes_per_day=SIZE)
    ask(api, ada)
    shown = usage(api, ada)
    assert shown.pop("day_ends_at").endswith("T00:00:00+00:00")
    assert shown == {
        "requests_waiting": 1, "requests_waiting_limit": 5, "requests_waiting_left": 4,
        "requests_today": 1, "requests_per_day_limit": None, "requests_left": None,
        "bytes_today": SIZE, "bytes_per_day_limit": SIZE, "bytes_left": 0,
        "changes_per_minute_limit": None, "changes_left": None,
    }  # fmt: skip


def test_who_has_just_signed_up_has_used_nothing(api: Rest) -> None:
    shown = usage(api, api.tokens.person())
    assert (shown["requests_waiting"], shown["requests_today"], shown["bytes_today"]) == (0, 0, 0)
    assert shown["requests_left"] == shown["requests_per_day_limit"] == 10_000


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/usage?requests_today=gt.0", "/attempts?n=gt.0"])
def test_nobody_writes_what_is_there_to_read(path: str, method: str, api: Rest) -> None:
    body = {"requests_today": 0} if "usage" in path else {"n": 1}
    for token, error in ((None, (401, "token_missing")), (api.tokens.person().token(), (403, "42501"))):
        assert api.ask(method, path, token=token, json=body).error == error


def test_attempts_tell_ones_own_history_and_nobody_elses(api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    request = ask(api, ada)["id"]
    put(api, request, "running")
    put(api, request, "failed")
    path = f"/attempts?request_id=eq.{request}&order=n"
    (attempt,) = api.get(path, token=ada.token()).json
    assert attempt.pop("ended_at")
    assert attempt == {
        "request_id": request, "n": 0, "started_at": None, "outcome": "failed",
        "error_code": "model_failed", "error_message": None,
    }  # fmt: skip
    assert api.get(path, token=bob.token()).json == []
    for column in ("worker", "worker_id", "owner", "job_id"):
        assert api.get(f"/attempts?select={column}", token=ada.token()).error == (400, "42703")
