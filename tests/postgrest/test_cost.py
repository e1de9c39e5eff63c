"""What a single question may cost: refused in our words before it is worked on, whoever asks."""

import contextlib
import http.client
import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.fix_postgrest import Answer, Rest
from tests.fix_tokens import Person
from tests.postgrest.asking import ASK, WITH_ROW, ask, rows_of

pytestmark = pytest.mark.services

TEXT_BYTES = 2**20
DIGITS = "1e131071"  # eight bytes that a cast to numeric makes 131,072 of


def aliases(column: str, count: int) -> str:
    return ",".join(f"c{i}:{column}" for i in range(count))


def refused(answer: Answer, status: int, code: str) -> None:
    """In the words of every refusal: a code, and a sentence that says what to do."""
    assert answer.error == (status, code), answer
    assert answer.json["message"].endswith(".")


def everybody(api: Rest) -> Iterator[tuple[str, str | None]]:
    yield "/models", None
    token = api.tokens.person().token()
    for path in ("/models", "/requests", "/partials", "/attempts", "/usage"):
        yield path, token


@pytest.mark.parametrize("prefer", [
    "count=planned", "count=estimated", "Count=Planned", "count=planned, return=minimal",
], ids=str)  # fmt: skip
def test_an_estimate_of_everybodys_rows_is_refused(prefer: str, api: Rest) -> None:
    for path, token in everybody(api):
        for headers in ([("Prefer", prefer)], [("Prefer", prefer), ("Prefer", "handling=lenient")]):
            answer = api.get(path, token=token, headers=headers)
            if "Count" in prefer:  # a word that PostgREST does not know
                assert (answer.status, answer.headers["Content-Range"].split("/")[1]) == (200, "*")
            else:
                refused(answer, 400, "count_not_offered")


@pytest.mark.parametrize("kind", ["numeric", "jsonb", "bytea", "xml", "regclass", "int", "tsvector"])
def test_no_column_is_cast_to_what_is_larger_than_itself(kind: str, api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada, title=DIGITS)["id"]
    for column in (f"title::{kind}", f'" AS text )":title::{kind}', f"id::text,title::{kind}"):
        select = column.replace(" ", "%20").replace('"', "%22")
        one = f"/requests?id=eq.{request}&select={select}"
        refused(api.get(one, token=ada.token()), 400, "cast_not_offered")
        patched = api.patch(one, token=ada.token(), json={"title": DIGITS}, headers=WITH_ROW)
        refused(patched, 400, "cast_not_offered")
        posted = api.post(f"/requests?select={select}", token=ada.token(), json=ASK, headers=WITH_ROW)
        refused(posted, 400, "cast_not_offered")
        cancelled = api.post(f"/rpc/cancel?select={select}", token=ada.token(), json={"id": request})
        refused(cancelled, 400, "cast_not_offered")
    assert [row["state"] for row in rows_of(api, ada)] == ["queued"]


def test_a_column_can_be_cast_to_text(api: Rest) -> None:
    ada = api.tokens.person()
    request = ask(api, ada)["id"]
    (row,) = api.get("/requests?select=id::text,checks->a::text", token=ada.token()).json
    assert row == {"id": request, "a": None}


def test_columns_and_conditions_without_number_are_refused(api: Rest) -> None:
    for path, token in everybody(api):
        column = "id" if path == "/requests" else "name" if path == "/models" else "n"
        column = "bytes_left" if path == "/usage" else column
        many = f"{path}?select={aliases(column, 300)}", f"{path}?or=({','.join([f'{column}.is.null'] * 300)})"
        for question in many:
            refused(api.get(question, token=token), 400, "question_too_large")
        assert api.get(f"{path}?select={aliases(column, 90)}", token=token).status == 200


def long_text(api: Rest, person: Person) -> str:
    return str(ask(api, person, text="a" * TEXT_BYTES)["id"])


@pytest.mark.parametrize(("column", "headers"), [
    ("text", {}), ("text->a", {}), ("text", {"Accept": "text/csv"}),
    ("text", {"Accept": "application/vnd.pgrst.object+json"}),
], ids=str)  # fmt: skip
def test_a_long_text_cannot_be_asked_for_again_and_again(
    column: str, headers: dict[str, str], api: Rest
) -> None:
    ada = api.tokens.person()
    one = f"/requests?id=eq.{long_text(api, ada)}&select="
    assert api.get(one + aliases("text", 3), token=ada.token(), headers=headers).status == 200
    refused(api.get(one + aliases(column, 40), token=ada.token(), headers=headers), 400, "answer_too_large")


def test_what_a_change_answers_with_is_counted_as_often_as_it_is_named(api: Rest) -> None:
    ada = api.tokens.person()
    token, one = ada.token(), f"id=eq.{(request := long_text(api, ada))}"
    for count, status in ((3, 200), (40, 400)):
        path = f"/requests?{one}&select={aliases('text', count)}"
        assert api.patch(path, token=token, json={"title": "T"}, headers=WITH_ROW).status == status
        path = f"/rpc/cancel?select={aliases('text', count)}"
        assert api.post(path, token=token, json={"id": request}).status == status
        path = f"/requests?select={aliases('text', count)}"
        body = ASK | {"text": "a" * TEXT_BYTES}
        posted = api.post(path, token=token, json=body, headers=WITH_ROW)
        assert posted.status == (202 if status == 200 else status)
    answer = api.delete(f"/requests?{one}&select={aliases('text', 40)}", token=token, headers=WITH_ROW)
    refused(answer, 400, "answer_too_large")
    assert len(rows_of(api, ada)) == 2  # what was refused was not done


def test_what_is_not_answered_is_not_counted(api: Rest) -> None:
    ada = api.tokens.person()
    body = [ASK | {"text": "a" * TEXT_BYTES, "title": "long"}] * 7
    assert api.post("/requests", token=ada.token(), json=body).status == 202
    assert api.patch("/requests?title=eq.long", token=ada.token(), json={"title": "T"}).status == 204
    refused(api.get("/requests", token=ada.token()), 400, "answer_too_large")
    assert len(api.get("/requests?limit=3", token=ada.token()).json) == 3
    assert len(api.get("/requests?order=created_at&limit=3", token=ada.token()).json) == 3
    assert api.delete("/requests?title=eq.T", token=ada.token()).status == 204
    assert rows_of(api, ada) == []


@pytest.mark.parametrize("operator", ["match", "imatch", "not.match", "not.imatch", "match(any)"])
def test_no_client_brings_a_regular_expression(operator: str, api: Rest) -> None:
    slow = "%22(((a%7B1,40%7D)%7B1,40%7D)%7B1,30%7D)%22"  # takes half a second to compile
    for token in (None, api.tokens.person().token()):
        for pattern in ("(a*)*b", slow):
            given = f"{{{pattern}}}" if "any" in operator else pattern
            refused(api.get(f"/models?name={operator}.{given}", token=token), 400, "pattern_not_offered")
    assert api.get("/models?name=ilike.TINY*").json != []
    assert api.get("/models?name=eq.~").json == []


def test_a_body_must_say_how_long_it_is(api: Rest) -> None:
    token = api.tokens.person().token()
    kind = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    with contextlib.closing(http.client.HTTPConnection(api.address, timeout=30)) as connection:
        headers = {"Authorization": f"Bearer {token}", **kind}
        connection.request("POST", "/requests", iter([b"{}"]), headers, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["code"]) == (411, "length_required")


def pile(api: Rest, person: Person, count: int) -> None:
    """So many finished requests with long titles."""
    api.query(
        "with asked as (insert into private.request (owner, title, task, text, model, body_hash)"
        " select %s, repeat('title', 60), 'summarize', 'text', 'tiny:latest', ''"
        " from generate_series(1, %s) returning id, job_id, owner)"
        " insert into private.job (id, request_id, owner, model_id, state, finished_at)"
        " select job_id, id, owner, (select min(id) from private.model), 'done', now() from asked",
        person.account, count,
    )  # fmt: skip


def test_three_of_an_account_may_be_at_work_on_much_at_once(api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    texts = {person.account: long_text(api, person) for person in (ada, bob)}
    take = "select pg_try_advisory_lock(hashtext('precis.is_let_work'), hashtext(%s))"
    with api.database.connect() as others:
        for i in (1, 2, 3):
            assert others.execute(take, [f"{ada.account} {i}"]).fetchone() == (True,)
        search = f"/requests?id=eq.{texts[ada.account]}&text=like.*a*"
        answer = api.get(search, token=ada.token())
        refused(answer, 429, "too_many_at_once")
        assert answer.headers["Retry-After"] == "1"
        assert api.get("/requests?select=id,state", token=ada.token()).status == 200
        search = f"/requests?id=eq.{texts[bob.account]}&text=like.*a*"
        assert api.get(search, token=bob.token()).status == 200


@pytest.mark.parametrize("column", ["title", "task", "state"])
def test_a_question_that_takes_too_long_is_told_so(column: str, api: Rest) -> None:
    ada = api.tokens.person()
    pile(api, ada, 10_000)
    patterns = ",".join(f"*{letters}{letters}{letters}*" for letters in "abcdefghijklmno" * 250)
    answer = api.get(f"/requests?select=id&{column}=ilike(any).{{{patterns}}}", token=ada.token())
    refused(answer, 400, "question_too_costly")
    assert api.get("/requests?select=id&limit=1", token=ada.token()).status == 200


def test_the_settings_of_the_anonymous_are_short(api: Rest) -> None:
    with psycopg.connect(api.database.url()) as connection:
        rows = connection.execute(
            "select setconfig from pg_db_role_setting where setrole = 'pgrest_anon'::regrole"
        ).fetchall()
    assert rows == [(["statement_timeout=500ms"],)]
