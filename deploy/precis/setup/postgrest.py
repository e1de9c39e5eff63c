"""PostgREST's configuration file. Knows the template's holes and no SQL."""

from string import Template
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from precis.faults import BadConfiguration
from precis.setup.settings import StackSettings

# What libpq should do about hosts that hang or do not take writes; each can be overridden in database_url.
CONNECTION = {
    "target_session_attrs": "read-write",
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "tcp_user_timeout": "10000",
}


def render(template: str, settings: StackSettings) -> str:
    host, _, admin_port = settings.postgrest_admin.rpartition(":")
    if settings.postgrest_admin.startswith("unix:") or host not in ("127.0.0.1", "localhost"):
        raise BadConfiguration(
            "postgrest_admin_listen",
            "postgrest.admin_listen must be 127.0.0.1:port: every PostgREST can do that.",
        )
    return Template(template).substitute(
        database_url=_quoted(connection_url(settings.postgrest_url)),
        audience=_quoted(settings.audience),
        listen=_listen(settings.postgrest_listen),
        admin_port=admin_port,
        allowed_origins=_quoted(", ".join(settings.postgrest_origins)),
    )


def connection_url(database_url: str) -> str:
    parts = urlsplit(database_url)
    query = {**CONNECTION, **dict(parse_qsl(parts.query, keep_blank_values=True))}
    return urlunsplit(parts._replace(query=urlencode(query)))


def _listen(address: str) -> str:
    if address.startswith("unix:"):
        return f'server-unix-socket = "{_quoted(address.removeprefix("unix:"))}"'
    host, _, port = address.rpartition(":")
    return f'server-host = "{_quoted(host)}"\nserver-port = {port}'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
