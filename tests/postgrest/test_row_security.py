"""Who sees what: nobody sees another
one's rows, nothing outside `public` can be reached, and no answer names it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fix_postgrest import Rest
from tests.fix_tokens import Person
from tests.postgrest.asking import ASK, ask, rows_of

pytestmark = pytest.mark.services

HIDDEN_SCHEMAS = ["private", "gate", "dbmate", "pg_catalog", "information_schema"]


def reach(api: Rest, path: str, **headers: str) -> Iterator[Any]:
    """The answers that anybody and somebody signed in get."""
    for token in (None, api.tokens.person().token()):
        yield api.get(path, token=token, headers=headers)


@pytest.mark.parametrize("path", ["/requests", "/partials", "/usage", "/attempts"])
def test_the_anonymous_read_nothing_of_a_person(path: str, api: Rest) -> None:
    ask(api, api.tokens.person())
    answer = api.get(path)
    assert answer.error == (401, "token_missing")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_everybody_reads_the_models(api: Rest) -> None:
    for answer in reach(api, "/models"):
        assert [row["name"] for row in answer.json] == ["tiny:latest"]
        assert set(answer.json[0]) == {
            "name",
            "is_default",
            "engine",
            "context_tokens",
            "capabilities",
            "available",
        }


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/models?name=eq.tiny:latest", "/partials?n=eq.1"])
def test_nobody_writes_what_is_there_to_read(path: str, method: str, api: Rest) -> None:
    unknown = (401, "42501" if "models" in path else "token_missing")
    for token, error in ((None, unknown), (api.tokens.person().token(), (403, "42501"))):
        body = {"name": "x"} if "name" in path else {"n": 2}
        assert api.ask(method, path, token=token, json=body).error == error
    assert [row["name"] for row in api.get("/models").json] == ["tiny:latest"]


def test_two_people_see_their_own_rows_and_no_others(api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    hers, his = ask(api, ada), ask(api, bob)
    assert rows_of(api, ada) == [hers]
    assert rows_of(api, bob) == [his]
    foreign = f"/requests?id=eq.{hers['id']}"
    assert api.get(foreign, token=bob.token()).json == []
    single = api.get(foreign, token=bob.token(), headers={"Accept": "application/vnd.pgrst.object+json"})
    assert single.error == (406, "PGRST116")


@pytest.mark.parametrize("filters", [
    "or=(id.not.is.null,state.eq.queued)", "id=not.is.null", "text=like.*", "state=in.(queued,running,done)",
    "order=created_at&limit=1000",
    "and=(or(id.not.is.null,title.is.null),task.eq.summarize)",
    "text=ilike.A*",
])  # fmt: skip
def test_no_filter_widens_what_one_sees(filters: str, api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    ask(api, ada)
    his = ask(api, bob)
    assert api.get(f"/requests?{filters}", token=bob.token()).json == [his]


def test_an_exact_count_counts_ones_own_rows(api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    for _ in range(3):
        ask(api, ada)
    ask(api, bob)
    answer = api.get("/requests", token=bob.token(), headers={"Prefer": "count=exact"})
    assert answer.headers["Content-Range"] == "0-0/1"


def test_partial_text_is_its_owners_alone(api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    request = ask(api, ada)["id"]
    api.query(
        "update private.job set state = 'running', worker_id = 1, epoch = 1 where request_id = %s", request
    )
    for n, text in enumerate(("So ", "far.")):
        values = (request, n, ada.account, text)
        api.query(
            "insert into private.partial (request_id, epoch, n, owner, text) values (%s, 1, %s, %s, %s)",
            *values,
        )
    path = f"/partials?request_id=eq.{request}"
    assert api.get(path, token=ada.token()).json == [
        {"request_id": request, "epoch": 1, "text": "So far.", "n": 1}
    ]
    assert api.get(path, token=bob.token()).json == []


@pytest.mark.parametrize("schema", HIDDEN_SCHEMAS)
def test_no_header_opens_another_schema(schema: str, api: Rest) -> None:
    for answer in reach(api, "/event", **{"Accept-Profile": schema}):
        assert answer.error == (406, "PGRST106")
    posted = api.post(
        "/requests", token=api.tokens.person().token(), json=ASK, headers={"Content-Profile": schema}
    )
    assert posted.error == (406, "PGRST106")


@pytest.mark.parametrize("path", [
    "/", "//x", "//models", "/private.request", "/../request", "/public/requests", "/private/request",
    "/%2e%2e/request", "/request",
    "/job", "/account", "/session", "/signing_key", "/event", "/pg_roles", "/schema_migrations", "/rpc/",
    "/rpc/../models",
])  # fmt: skip
def test_no_path_leads_anywhere_else(path: str, api: Rest) -> None:
    for answer in reach(api, path):
        assert answer.status == 404
    assert api.ask("OPTIONS", path).status in (200, 404)


def functions_in(api: Rest, *schemas: str) -> set[str]:
    rows = api.query(
        "select proname from pg_proc where pronamespace::regnamespace::text = any (%s)", list(schemas)
    )
    return {row[0] for row in rows}


def test_no_function_of_a_hidden_schema_can_be_called(api: Rest) -> None:
    public = functions_in(api, "public")
    assert public == {"cancel", "retry", "clear"}
    for name in functions_in(api, "gate", "private") - public:
        for token in (None, api.tokens.person().token()):
            assert api.get(f"/rpc/{name}", token=token).error == (404, "PGRST202")
            assert api.post(f"/rpc/{name}", token=token, json={}).error == (404, "PGRST202")


def test_what_can_be_reached_is_the_public_list(api: Rest) -> None:
    relations = api.query(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind <> 'c'"
    )
    assert {row[0] for row in relations} == {"requests", "partials", "models", "usage", "attempts"}


@pytest.mark.parametrize("path", [
    "/requests?select=owner", "/requests?select=body_hash", "/requests?owner=eq.x", "/requests?order=owner",
    "/models?select=clock",
    "/models?order=paused_at", "/partials?select=owner", "/requests?select=idempotency_key",
    "/requests?or=(owner.is.null)",
])  # fmt: skip
def test_columns_behind_the_views_are_not_there(path: str, api: Rest) -> None:
    assert api.get(path, token=api.tokens.person().token()).error == (400, "42703")


@pytest.mark.parametrize("table", ["result", "job", "request", "account", "event", "partials"])
def test_nothing_can_be_embedded(table: str, api: Rest) -> None:
    answer = api.get(f"/requests?select=id,{table}(*)", token=api.tokens.person().token())
    assert answer.error == (400, "PGRST200")


def test_nothing_is_aggregated(api: Rest) -> None:
    assert api.get("/requests?select=id.count()", token=api.tokens.person().token()).error == (
        400,
        "PGRST123",
    )


@pytest.mark.parametrize("accept", [
    "application/vnd.pgrst.plan", "application/vnd.pgrst.plan+json",
    "application/vnd.pgrst.plan+text; options=analyze|verbose",
    'application/vnd.pgrst.plan+json; for="text/csv"', "image/png, application/vnd.pgrst.plan",
])  # fmt: skip
def test_no_plan_is_shown(accept: str, api: Rest) -> None:
    answer = api.get("/requests", token=api.tokens.person().token(), headers={"Accept": accept})
    assert answer.status in (406, 415)
    assert answer.code == "PGRST107"


@pytest.mark.parametrize("path", [
    "/rpc/cancell", "/rpc/retri", "/rpc/cancel?ident=1", "/request", "/modells", "/requests?select=*,job(*)",
    "/requests?selct=id",
    "/requests?id=eq.zz", "/rpc/pre_requests", "/partial",
])  # fmt: skip
def test_hints_for_the_mistaken_name_nothing_hidden(path: str, api: Rest) -> None:
    for answer in reach(api, path):
        said = answer.text.replace(path.split("?")[0].removeprefix("/rpc/").strip("/"), "")
        assert not any(
            word in said
            for word in ("gate", "private", "pre_request", "signing", "precis", "account", "owner")
        )


def test_a_read_gives_a_thousand_rows_at_most(api: Rest) -> None:
    ada = api.tokens.person()
    fill(api, ada, 1_100)
    token = ada.token()
    assert len(api.get("/requests?select=id&limit=5000", token=token).json) == 1000
    assert len(api.get("/requests?select=id&offset=1000", token=token).json) == 100


def fill(api: Rest, person: Person, count: int) -> None:
    api.query(
        "with asked as (insert into private.request (owner, task, text, model, body_hash)"
        " select %s, 'summarize', 'text', 'tiny:latest', '' from generate_series(1, %s) returning id, job_id)"
        " insert into private.job (id, request_id, owner, model_id, state, finished_at)"
        " select job_id, id, %s, (select min(id) from private.model), 'done', now() from asked",
        person.account, count, person.account,
    )  # fmt: skip


def test_deep_and_long_questions_do_no_harm(api: Rest) -> None:
    token = api.tokens.person().token()
    deep = "or=(" + "and(or(" * 200 + "id.is.null,id.is.null" + "))" * 200 + ",id.is.null)"
    long = "id=in.(" + ",".join([ask(api, api.tokens.person())["id"]] * 1_100) + ")"
    assert api.get(f"/requests?{deep}", token=token).status in (200, 400)
    assert (len(long) > 40_000, api.get(f"/requests?{long}", token=token).json) == (True, [])
    assert api.get(f"/requests?text=eq.{'x' * 60_000}", token=token).status in (400, 414, 431)
    assert api.get("/requests", token=token).json == []


def test_a_lock_is_not_waited_for_without_end(rest: Rest) -> None:
    ada = rest.tokens.person()
    with rest.database.connect() as other, other.transaction():
        other.execute("lock table private.request in access exclusive mode")
        answer = rest.get("/requests", token=ada.token())
    assert answer.error == (409, "busy")
    assert answer.headers["Retry-After"] == "1"
    assert rest.get("/requests", token=ada.token()).json == []
