"""Asking for a summary: what an accepted insert answers, and what an Idempotency-Key is good for."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any

import pytest

from tests.fix_postgrest import Answer, Rest
from tests.postgrest.asking import ASK, NOBODY, WITH_ROW, ask, rows_of

pytestmark = pytest.mark.services

AT_NOON = ASK | {"run_at": f"{date.today() + timedelta(days=30)}T12:00:00Z"}
# Another value than that of ASK, for each column that a client may give.
CHANGES: dict[str, Any] = {
    "text": "Another text.", "task": "shorten", "title": "T", "target_words": 10, "target_ratio": 0.5,
    "style": "bullets", "language": "de", "model": "tiny", "priority": 1,
    "run_at": f"{date.today() + timedelta(days=30)}T12:00:00+00:00",
}  # fmt: skip
GIVEN_BACK = {"model": "tiny:latest"}
NOT_YET = {"document_id", "url"}  # source_not_supported
SERVERS_OWN = {
    "id", "state", "progress", "result", "checks", "engine", "error_code", "error_message", "created_at",
    "updated_at", "finished_at",
}  # fmt: skip


def key(name: str) -> dict[str, str]:
    return WITH_ROW | {"Idempotency-Key": name}


def test_it_is_accepted_with_its_place_and_its_row(api: Rest) -> None:
    ada = api.tokens.person()
    answer = api.post("/requests", token=ada.token(), json=ASK, headers=WITH_ROW)
    (row,) = answer.json
    assert answer.status == 202
    assert answer.headers["Location"] == f"/requests?id=eq.{row['id']}"
    assert (row["state"], row["style"], row["model"], row["priority"]) == (
        "queued",
        "plain",
        "tiny:latest",
        0,
    )
    assert api.get(answer.headers["Location"], token=ada.token()).json == [row]
    assert api.query("select owner from private.request where id = %s", row["id"]) == [(ada.account,)]


@pytest.mark.parametrize(("prefer", "body"), [
    ("return=minimal", ""), ("return=headers-only", ""), ("missing=default", ""), ("handling=strict", ""),
    ("count=exact", ""),
    ("tx=rollback", ""), ("timezone=Asia/Tokyo", ""), ("return=representation", "row"),
    ("return=representation, count=exact, missing=default", "row"), ("", ""),
])  # fmt: skip
def test_it_is_stored_once_whatever_the_client_prefers_to_hear(prefer: str, body: str, api: Rest) -> None:
    ada = api.tokens.person()
    answer = api.post("/requests", token=ada.token(), json=ASK, headers={"Prefer": prefer})
    (row,) = rows_of(api, ada)
    assert answer.status == 202
    assert answer.headers["Location"] == f"/requests?id=eq.{row['id']}"
    assert answer.text == "" if body == "" else [made["id"] for made in answer.json] == [row["id"]]


@pytest.mark.parametrize(("prefer", "error"), [
    ("resolution=ignore-duplicates", (400, "upsert_not_offered")),
    ("resolution=merge-duplicates", (400, "upsert_not_offered")),
    ("handling=strict, nonsense=1", (400, "PGRST122")),
])  # fmt: skip
def test_preferences_that_cannot_be_honoured_store_nothing(
    prefer: str, error: tuple[int, str], api: Rest
) -> None:
    ada = api.tokens.person()
    answer = api.post("/requests", token=ada.token(), json=ASK, headers={"Prefer": prefer})
    assert answer.error == error
    assert rows_of(api, ada) == []


@pytest.mark.parametrize(("body", "kind"), [
    (b"task,text\nsummarize,Some text here.\n", "text/csv"),
    (b"task=summarize&text=Some+text+here.", "application/x-www-form-urlencoded"),
])  # fmt: skip
def test_it_can_be_sent_in_the_other_forms_that_postgrest_reads(body: bytes, kind: str, api: Rest) -> None:
    ada = api.tokens.person()
    answer = api.post("/requests", token=ada.token(), body=body, headers={"Content-Type": kind})
    assert answer.status == 202
    assert [row["text"] for row in rows_of(api, ada)] == ["Some text here."]


def test_several_rows_are_accepted_together_and_get_no_place(api: Rest) -> None:
    ada = api.tokens.person()
    answer = api.post("/requests", token=ada.token(), json=[ASK, ASK, ASK], headers=WITH_ROW)
    assert answer.status == 202
    assert answer.headers["Location"] is None
    assert len({row["id"] for row in answer.json}) == 3


def test_one_bad_row_of_several_means_none(api: Rest) -> None:
    ada = api.tokens.person()
    answer = api.post("/requests", token=ada.token(), json=[ASK, ASK | {"task": "translate"}])
    assert answer.error == (422, "unknown_task")
    assert rows_of(api, ada) == []


def test_a_full_mebibyte_in_any_script_is_accepted(api: Rest) -> None:
    row = ask(api, api.tokens.person(), text="語" * (2**20 // 3))
    assert row["text"] == "語" * (2**20 // 3)


@pytest.mark.parametrize("asked", ["tiny:latest", "tiny"])
def test_a_model_is_named_with_or_without_its_tag(asked: str, api: Rest) -> None:
    assert ask(api, api.tokens.person(), model=asked)["model"] == "tiny:latest"


@pytest.mark.parametrize("when", ["2020-01-01T00:00:00Z", "-infinity", None])
def test_a_time_that_has_passed_is_now(when: str | None, api: Rest) -> None:
    assert ask(api, api.tokens.person(), run_at=when)["run_at"] is None


def test_a_later_time_is_kept(api: Rest) -> None:
    row = ask(api, api.tokens.person(), run_at="2026-12-24T12:00:00+02:00")
    assert (row["run_at"], row["state"]) == ("2026-12-24T10:00:00+00:00", "queued")


def test_there_is_no_request_without_a_model(rest: Rest) -> None:
    rest.query("update private.model set is_default = false")
    answer = rest.post("/requests", token=rest.tokens.person().token(), json=ASK)
    assert answer.error == (409, "no_model")
    assert answer.headers.get_all("Retry-After") == ["5"]


def test_a_replay_answers_the_same_row(api: Rest) -> None:
    ada = api.tokens.person()
    first = api.post("/requests", token=ada.token(), json=ASK, headers=key("one"))
    again = api.post("/requests", token=ada.token(), json=ASK, headers=key("one"))
    assert (first.status, again.status) == (202, 200)
    assert (first.headers["Idempotent-Replayed"], again.headers["Idempotent-Replayed"]) == (None, "true")
    assert again.headers["Location"] == first.headers["Location"]
    assert again.json == first.json
    assert len(rows_of(api, ada)) == 1


@pytest.mark.parametrize("prefer", ["return=minimal", "return=headers-only"])
def test_a_replay_without_the_row_says_where_it_is(prefer: str, api: Rest) -> None:
    ada = api.tokens.person()
    headers = {"Idempotency-Key": "one", "Prefer": prefer}
    first, again = (api.post("/requests", token=ada.token(), json=ASK, headers=headers) for _ in range(2))
    assert (first.status, again.status, again.text) == (202, 200, "")
    assert again.headers["Location"] == first.headers["Location"]


def test_a_replay_shows_how_far_the_request_is_by_now(api: Rest) -> None:
    ada = api.tokens.person()
    (row,) = api.post("/requests", token=ada.token(), json=ASK, headers=key("one")).json
    api.post("/rpc/cancel", token=ada.token(), json={"id": row["id"]})
    (again,) = api.post("/requests", token=ada.token(), json=ASK, headers=key("one")).json
    assert (again["id"], again["state"]) == (row["id"], "cancelled")


def test_a_replay_in_another_session_and_time_zone_is_still_one(api: Rest) -> None:
    ada = api.tokens.person()
    first = api.post("/requests", token=ada.token(), json=AT_NOON, headers=key("one"))
    other = api.tokens.session(ada.account)
    headers = key("one") | {"Prefer": "return=representation, timezone=America/New_York"}
    again = api.post("/requests", token=other.token(), json=AT_NOON, headers=headers)
    assert (first.status, again.status) == (202, 200)


def insertable(api: Rest) -> set[str]:
    """The columns of requests that a client may give."""
    columns = api.query(
        "select attname::text from pg_attribute where attrelid = 'public.requests'::regclass and attnum > 0"
    )
    return {str(column) for (column,) in columns} - SERVERS_OWN


def test_each_column_that_a_client_may_give_is_tried(api: Rest) -> None:
    assert insertable(api) == CHANGES.keys() | NOT_YET
    ada = api.tokens.person()
    for column in SERVERS_OWN:
        answer = api.post("/requests", token=ada.token(), json=ASK | {column: None, "title": "T"})
        assert answer.status == 202, (column, answer)
    for column in NOT_YET:
        answer = api.post("/requests", token=ada.token(), json={"task": "summarize", column: NOBODY})
        assert answer.error[0] == 422, (column, answer)


@pytest.mark.parametrize("column", CHANGES)
def test_what_is_given_stands_in_the_row_and_under_its_key(column: str, api: Rest) -> None:
    ada = api.tokens.person()
    changed = ASK | {column: CHANGES[column]}
    answer = api.post("/requests", token=ada.token(), json=changed, headers=key("one"))
    assert answer.status == 202, answer
    (row,) = answer.json
    assert row[column] == GIVEN_BACK.get(column, CHANGES[column])
    assert rows_of(api, ada) == [row]
    answer = api.post("/requests", token=ada.token(), json=ASK, headers=key("one"))
    assert answer.error == (422, "idempotency_key_reused")
    assert len(rows_of(api, ada)) == 1


def test_a_key_over_several_rows_is_refused(api: Rest) -> None:
    ada = api.tokens.person()
    answer = api.post("/requests", token=ada.token(), json=[ASK, ASK], headers=key("one"))
    assert answer.error == (400, "idempotency_needs_one_row")
    assert rows_of(api, ada) == []


def test_two_people_may_use_the_same_key(api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    answers = [api.post("/requests", token=who.token(), json=ASK, headers=key("one")) for who in (ada, bob)]
    assert [answer.status for answer in answers] == [202, 202]
    assert rows_of(api, ada) != rows_of(api, bob)


def test_forty_eight_at_once_with_one_key_make_one_request(api: Rest) -> None:
    token = (ada := api.tokens.person()).token()

    def post(_: int) -> Answer:
        return api.post("/requests", token=token, json=ASK, headers=key("one"))

    with ThreadPoolExecutor(48) as pool:
        answers = list(pool.map(post, range(48)))
    assert Counter(answer.status for answer in answers) == {202: 1, 200: 47}
    assert {answer.json[0]["id"] for answer in answers} == {row["id"] for row in rows_of(api, ada)}


def test_forty_eight_at_once_with_one_key_and_two_bodies_keep_one_of_them(api: Rest) -> None:
    token = (ada := api.tokens.person()).token()

    def post(n: int) -> Answer:
        return api.post("/requests", token=token, json=ASK | {"target_words": 1 + n % 2}, headers=key("one"))

    with ThreadPoolExecutor(48) as pool:
        answers = list(pool.map(post, range(48)))
    assert Counter(answer.status for answer in answers) == {202: 1, 200: 23, 422: 24}
    assert len(rows_of(api, ada)) == 1


@pytest.mark.parametrize("bad", ["", "two words", "k" * 256, "k\u00c3\u00bc"])
def test_a_key_is_printable_ascii(bad: str, api: Rest) -> None:
    ada = api.tokens.person()
    answer = api.post("/requests", token=ada.token(), json=ASK, headers=key(bad))
    assert answer.error == (400, "invalid_idempotency_key")
    assert rows_of(api, ada) == []


@pytest.mark.parametrize("good", ["k" * 255, "~!{}'\"\\", "6e0e1d6c-2f1b-4a63-8a0f-2f6a4d1c2b3a"])
def test_any_other_key_will_do(good: str, api: Rest) -> None:
    ada = api.tokens.person()
    answers = [api.post("/requests", token=ada.token(), json=ASK, headers=key(good)) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 200]
