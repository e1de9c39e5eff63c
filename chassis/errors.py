"""The one shape of every answer that is not a success, PostgREST's own: code, message, details, hint.

And what ends a start.

Knows no code; callers bring theirs.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web


class ApiError(Exception):
    """An answer that is not a success, in the one shape of all our services."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Any = None,
        hint: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.headers = headers
        self.body = {"code": code, "message": message, "details": details, "hint": hint}

    def response(self) -> web.Response:
        response = web.json_response(self.body, status=self.status, headers=self.headers)
        if self.status in (408, 413):
            response.force_close()  # the rest of the body is not waited for
        return response


class StartError(Exception):
    """The service cannot start as things are; the text says what to change."""
