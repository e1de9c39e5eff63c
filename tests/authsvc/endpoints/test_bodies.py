"""What may be in a body: bad ones get a stable code, and none a 500."""

import itertools
from typing import Any

import pytest

from tests.authsvc.fix_service import GOOD_PASSWORD, Service

pytestmark = pytest.mark.services

GOOD = {"email": "ada@example.org", "password": GOOD_PASSWORD}
WRONG_TYPES: list[Any] = [["a"], {"a": 1}, 1, 1.5, True, False, None]
PATHS = ("/auth/register", "/auth/login")
ALL_PATHS = (*PATHS, "/auth/refresh", "/auth/logout")


UNUSABLE: list[tuple[Any, str]] = [
    ({}, "missing_field"),
    ({"email": "ada@example.org"}, "missing_field"),
    ({"password": GOOD_PASSWORD}, "missing_field"),
    (GOOD | {"role": "admin"}, "unknown_field"),
    (GOOD | {"is_admin": True}, "unknown_field"),
    (GOOD | {"email_verified": True}, "unknown_field"),
    (GOOD | {"id": "00000000-0000-0000-0000-000000000000"}, "unknown_field"),
    (GOOD | {"refresh_token": "x"}, "unknown_field"),
    (GOOD | {"delivery": "fax"}, "invalid_field"),
    (GOOD | {"delivery": None}, "invalid_field"),
    (GOOD | {"delivery": ["body"]}, "invalid_field"),
    ([GOOD], "invalid_body"),
    ("a text", "invalid_body"),
    (7, "invalid_body"),
    (GOOD | {"email": "a\0da@example.org"}, "invalid_text"),
    (GOOD | {"password": GOOD_PASSWORD + "\0"}, "invalid_text"),
    (GOOD | {"email": "\ud800ada@example.org"}, "invalid_text"),
    (GOOD | {"password": GOOD_PASSWORD + "\udfff"}, "invalid_text"),
    (GOOD | {"password": GOOD_PASSWORD + "\r\n"}, "invalid_password"),
    (GOOD | {"password": GOOD_PASSWORD + "\x7f"}, "invalid_password"),
    (GOOD | {"password": "\x1b" + GOOD_PASSWORD}, "invalid_password"),
    (GOOD | {"password": ""}, "invalid_password"),
    (GOOD | {"password": "x" * 300}, "password_too_long"),
    (GOOD | {"email": "ada\r\nBcc: x@example.org"}, "invalid_email"),
    (GOOD | {"email": "<script>@example.org"}, "invalid_email"),
    (GOOD | {"email": "a\x07da@example.org"}, "invalid_email"),
    (GOOD | {"email": "😀@example.org"}, "invalid_email"),
    (GOOD | {"email": ""}, "invalid_email"),
]


async def test_credentials_that_cannot_be_used_get_a_code_and_a_sentence(service: Service) -> None:
    for (body, code), path in itertools.product(UNUSABLE, PATHS):
        answer = await service.post(path, body)
        assert (answer.status, answer.code) == (422, code), (path, body)
        assert answer.json["message"].endswith(".")
    assert service.query("select count(*) from private.account") == [(0,)]


async def test_every_field_is_of_its_type(service: Service) -> None:
    for value in WRONG_TYPES:
        for path, body in [
            *((path, GOOD | {field: value}) for path in PATHS for field in GOOD),
            ("/auth/refresh", {"refresh_token": value}),
            ("/auth/logout", {"refresh_token": value}),
            ("/auth/logout", {"scope": value}),
        ]:
            answer = await service.post(path, body)
            assert (answer.status, answer.code) == (422, "invalid_field"), (path, body)


NO_JSON_OF_OURS: list[tuple[bytes, dict[str, str], int, str]] = [
    (b"", {}, 400, "invalid_json"),
    (b"{", {}, 400, "invalid_json"),
    (b"[" * 15000, {}, 400, "invalid_json"),
    (b'{"email": ' + b"9" * 5000 + b"}", {}, 400, "invalid_json"),
    (b'{"email": NaN}', {}, 400, "invalid_json"),
    (b'{"email": "a", "email": "b"}', {}, 400, "invalid_json"),
    (b"\xef\xbb\xbf{}", {}, 400, "invalid_json"),
    (b'{"email": "\xff"}', {}, 400, "invalid_json"),
    (b"{" + b" " * 16 * 1024 + b"}", {}, 413, "body_too_large"),
    (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    (b"{}", {"Content-Encoding": "gzip"}, 415, "unsupported_encoding"),
]


async def test_bodies_that_are_no_json_of_ours_are_refused(service: Service) -> None:
    for (raw, headers, status, code), path in itertools.product(NO_JSON_OF_OURS, ALL_PATHS):
        given = {"Content-Type": "application/json"} | headers
        async with service.http.post(f"{service.url}{path}", data=raw, headers=given) as response:
            assert (response.status, (await response.json())["code"]) == (status, code), (path, raw[:20])


async def test_a_body_without_end_is_cut_off_at_the_limit(service: Service) -> None:
    async def endless() -> Any:
        for _ in range(1000):
            yield b" " * 1024

    headers = {"Content-Type": "application/json"}
    async with service.http.post(f"{service.url}/auth/login", data=endless(), headers=headers) as response:
        assert response.status == 413
