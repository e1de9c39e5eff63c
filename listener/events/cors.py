"""Lets browser pages of the configured origins call us. No cookie is involved, so no credentials are."""

from collections.abc import Collection
from typing import Final

from aiohttp import hdrs, web

PREFLIGHT_HEADERS: Final = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST",
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type, Last-Event-ID, X-Request-Id",
    hdrs.ACCESS_CONTROL_MAX_AGE: "600",
}
EXPOSED_HEADERS: Final = "Retry-After, X-Request-Id"


def allow_origins(app: web.Application, origins: Collection[str]) -> None:
    """Answer preflights for every path there is now, and mark all answers, errors and streams included."""

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and origin in origins:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS

    async def preflight(request: web.Request) -> web.Response:
        allowed = request.headers.get(hdrs.ORIGIN) in origins
        return web.Response(status=204, headers=PREFLIGHT_HEADERS if allowed else {})

    app.on_response_prepare.append(mark)
    for resource in app.router.resources():
        if isinstance(resource, web.Resource):
            resource.add_route(hdrs.METH_OPTIONS, preflight)
