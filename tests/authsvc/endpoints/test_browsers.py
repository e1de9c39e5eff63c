"""The cookie, who may use it, and which pages may read answers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.authsvc.fix_service import GOOD_PASSWORD, Answer, Service, new_email, running
from tests.fix_postgres import Database

pytestmark = pytest.mark.services

PUBLIC_URL = "https://precis.example.org"
APP = "https://app.example.org"
COOKIE = "__Secure-authsvc_rt"
FOREIGN = [
    "https://evil.example.org", "null", "https://app.example.org.evil.org", "https://notapp.example.org",
    "http://app.example.org", "https://app.example.org:8443", "https://APP.example.org", "",
]  # fmt: skip


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Service]:
    """authsvc as behind a gateway that speaks https."""
    given: dict[str, Any] = {"public_url": PUBLIC_URL, "allowed_origins": APP, "bcrypt_cost": 10}
    async with running(database, tmp_path, **given) as service:
        yield service


async def register(site: Service, **headers: str) -> Answer:
    body = {"email": new_email(), "password": GOOD_PASSWORD, "delivery": "cookie"}
    return await site.post("/auth/register", body, **{"Origin": APP, **headers})


def cookie(answer: Answer) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0].partition("=")[2]


async def test_a_cookie_is_set_with_exactly_these_attributes_and_the_body_has_no_copy(site: Service) -> None:
    answer = await register(site)
    assert answer.status == 201
    assert "refresh_token" not in answer.json
    name, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert sorted(attributes) == [
        "HttpOnly",
        f"Max-Age={7 * 86400}",
        "Path=/auth",
        "SameSite=Strict",
        "Secure",
    ]
    assert answer.headers["Strict-Transport-Security"]


async def test_a_refresh_by_cookie_answers_by_cookie(site: Service) -> None:
    first = await register(site)
    second = await site.post("/auth/refresh", {}, Origin=APP, Cookie=f"{COOKIE}={cookie(first)}")
    assert second.status == 200
    assert "refresh_token" not in second.json
    assert cookie(second) not in ("", cookie(first))
    third = await site.post(
        "/auth/refresh", {}, Sec_Fetch_Site="same-origin", Cookie=f"{COOKIE}={cookie(second)}"
    )
    assert third.status == 200


async def test_a_foreign_page_can_do_nothing_with_the_cookie(site: Service) -> None:
    jar = f"{COOKIE}={cookie(await register(site))}"
    attempts: list[dict[str, str]] = [{"Origin": origin} for origin in FOREIGN]
    attempts += [
        {},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
    ]
    attempts += [{"Origin": FOREIGN[0], "Sec_Fetch_Site": "same-origin"}]
    before = site.query("select *, xmin::text from private.session")
    for headers in attempts:
        for path in ("/auth/refresh", "/auth/logout"):
            answer = await site.post(path, {}, Cookie=jar, **headers)
            assert (answer.status, answer.code) == (403, "origin_not_allowed"), (path, headers)
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert "Set-Cookie" not in answer.headers
    assert site.query("select *, xmin::text from private.session") == before


async def test_a_foreign_page_cannot_log_a_browser_in(site: Service) -> None:
    for path in ("/auth/register", "/auth/login"):
        body = {"email": "ada@example.org", "password": GOOD_PASSWORD, "delivery": "cookie"}
        answer = await site.post(path, body, Origin="https://evil.example.org")
        assert (answer.status, answer.code) == (403, "origin_not_allowed")
    assert site.query("select count(*) from private.account") == [(0,)]


async def test_forms_and_get_do_nothing_with_the_cookie(site: Service) -> None:
    jar = f"{COOKIE}={cookie(await register(site))}"
    for content_type in (
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
    ):
        answer = await site.post("/auth/refresh", {}, Cookie=jar, Origin=APP, Content_Type=content_type)
        assert answer.status == 415
    for path in ("/auth/refresh", "/auth/logout", "/auth/login", "/auth/register"):
        answer = await site.get(path, Cookie=jar, Origin=APP)
        assert (answer.status, answer.code) == (405, "method_not_allowed")


async def test_a_token_in_the_body_wins_and_the_cookie_is_not_looked_at(site: Service) -> None:
    mine = (await site.register()).json
    jar = f"{COOKIE}={cookie(await register(site))}"
    answer = await site.post("/auth/refresh", {"refresh_token": mine["refresh_token"]}, Cookie=jar)
    assert answer.status == 200
    assert answer.json["refresh_token"]
    assert "Set-Cookie" not in answer.headers
    answer = await site.post("/auth/refresh", {"refresh_token": ""}, Cookie=jar, Origin=APP)
    assert answer.code == "refresh_token_invalid"


async def test_a_log_in_does_not_adopt_a_session_that_was_there_before(site: Service) -> None:
    planted = await register(site)
    email = new_email()
    await site.register(email)
    body = {"email": email, "password": GOOD_PASSWORD, "delivery": "cookie"}
    answer = await site.post("/auth/login", body, Origin=APP, Cookie=f"{COOKIE}={cookie(planted)}")
    assert answer.status == 200
    assert answer.claims["sid"] != planted.claims["sid"]
    assert answer.claims["sub"] != planted.claims["sub"]
    assert cookie(answer) != cookie(planted)


async def test_a_log_out_by_cookie_works_when_the_access_token_has_expired_and_takes_the_cookie_away(
    site: Service,
) -> None:
    answer = await register(site)
    headers = {
        "Cookie": f"{COOKIE}={cookie(answer)}",
        "Origin": APP,
        "Authorization": "Bearer expired.or.worse",
    }
    gone = await site.post("/auth/logout", {}, **headers)
    assert gone.status == 204
    assert gone.headers["Set-Cookie"].startswith(f'{COOKIE}=""; ')
    assert "Max-Age=0" in gone.headers["Set-Cookie"]
    again = await site.post("/auth/refresh", {}, Origin=APP, Cookie=headers["Cookie"])
    assert again.code == "session_revoked"


async def test_ending_the_others_keeps_ones_own_cookie(site: Service) -> None:
    jar = f"{COOKIE}={cookie(await register(site))}"
    answer = await site.post("/auth/logout", {"scope": "others"}, Origin=APP, Cookie=jar)
    assert (answer.status, "Set-Cookie" in answer.headers) == (204, False)
    assert (await site.post("/auth/refresh", {}, Origin=APP, Cookie=jar)).status == 200


async def test_allowed_pages_may_ask_and_read(site: Service) -> None:
    for origin in (APP, PUBLIC_URL):
        async with site.http.options(f"{site.url}/auth/login", headers={"Origin": origin}) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == origin
            assert response.headers["Access-Control-Allow-Credentials"] == "true"
            assert response.headers["Access-Control-Allow-Methods"] == "POST"
            assert response.headers["Vary"] == "Origin"
    answer = await site.post("/auth/login", {}, Origin=APP)  # errors can be read too
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After, X-Request-Id"


async def test_foreign_pages_are_allowed_nothing(site: Service) -> None:
    for origin in FOREIGN:
        async with site.http.options(f"{site.url}/auth/login", headers={"Origin": origin}) as response:
            assert response.status == 403
            assert not [name for name in response.headers if name.startswith("Access-Control-")]
        answer = await site.post("/auth/login", {"email": "ada@example.org", "password": "x"}, Origin=origin)
        assert not [name for name in answer.headers if name.startswith("Access-Control-")]
        assert answer.headers["Vary"] == "Origin"


async def test_on_a_loopback_address_the_cookie_needs_no_https(service: Service) -> None:
    body = {"email": new_email(), "password": GOOD_PASSWORD, "delivery": "cookie"}
    answer = await service.post("/auth/register", body, Origin=service.url)
    name, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith("authsvc_rt=")
    assert "Secure" not in attributes
    assert "Strict-Transport-Security" not in answer.headers
