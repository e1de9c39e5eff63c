"""Lets browser pages of given origins call a service and read what it answers, errors and streams included.

The protocol is fetch.spec.whatwg.org's. Knows no cookie: whether one is believed is the handler's question.
"""

from collections.abc import Collection
from typing import Final

from aiohttp import hdrs, web

from chassis.errors import ApiError

REQUEST_HEADERS: Final = "Authorization, Content-Type, Last-Event-ID, X-Request-Id"
EXPOSED_HEADERS: Final = "Retry-After, X-Request-Id"
PREFLIGHT_SECONDS: Final = 600


def allow_origins(app: web.Application, origins: Collection[str], *, credentials: bool = False) -> None:
    """Answer preflights for every path there is now, and mark all answers. With `credentials`, cookies as
    well may come along.

    A page of another origin gets 403 `origin_not_allowed` for its preflight. An answer that says itself who
    may read it is left as it is.
    """

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        if hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in headers:
            return
        headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = origin_of(request)
        if origin is not None and origin in origins:
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS
            if credentials:
                headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"

    async def preflight(request: web.Request) -> web.Response:
        if origin_of(request) not in origins:
            message = "Pages of this origin may not call this service. The operator can allow it."
            raise ApiError(403, "origin_not_allowed", message)
        resource = request.match_info.route.resource
        methods = sorted({route.method for route in resource or ()} - {hdrs.METH_OPTIONS})
        headers = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(methods),
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: REQUEST_HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_SECONDS),
        }
        return web.Response(status=204, headers=headers)

    app.on_response_prepare.append(mark)
    for resource in app.router.resources():
        if isinstance(resource, web.Resource):
            resource.add_route(hdrs.METH_OPTIONS, preflight)


def origin_of(request: web.Request) -> str | None:
    """The page's origin; None where none is given, or several are."""
    given = request.headers.getall(hdrs.ORIGIN, [])
    return given[0] if len(given) == 1 else None
