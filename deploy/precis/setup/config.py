"""Fills config.toml with what this machine needs (secrets, free ports, database addresses) and writes the
files derived from it. What a person has set stays. Starts nothing."""

import base64
import os
import secrets
from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from precis.faults import BadConfiguration
from precis.layout import Layout
from precis.setup import toml_file
from precis.setup.ports import free_ports, is_free, port_of
from precis.setup.postgrest import render
from precis.setup.settings import StackSettings
from precis.setup.toml_file import Value

DATABASE = "precis"
LISTENS = (
    ("local", "postgres_listen"),
    ("postgrest", "listen"),
    ("postgrest", "admin_listen"),
    ("authsvc", "listen"),
    ("authsvc", "admin_listen"),
    ("events", "listen"),
    ("events", "admin_listen"),
    ("work", "admin_listen"),
    ("engine", "listen"),
    ("engine", "admin_listen"),
)
DATABASE_URLS = {  # where each role's address stands
    ("local", "owner_url"): "precis_owner",
    ("postgrest", "database_url"): "authenticator",
    ("authsvc", "database_url"): "authsvc",
    ("work", "database_url"): "listener",
    ("events", "database_url"): "listener_events",
}
URLS = {  # what follows from where a part listens
    ("authsvc", "public_url"): ("authsvc", "listen"),
    ("authsvc", "postgrest_url"): ("postgrest", "listen"),
}
# Every run of the terminal client is a log-in from this machine's one address.
LOGINS = {("authsvc", "logins_per_minute"): 600, ("authsvc", "logins_per_hour"): 6000}
HEADER = """\
# Written by `precis setup` for this machine. It holds secrets: keep it private.
# Every setting, with a sentence: config.default.toml
"""

Sections = Mapping[str, Mapping[str, object]]


def fill(layout: Layout, postgres_url: str) -> tuple[str, ...]:
    """Completes config.toml. Returns the keys that it had to set; none if all was there."""
    current = toml_file.read(layout.config)
    missing = plan(current, postgres_url, free_ports(layout.mark))
    if not missing:
        layout.config.chmod(0o600)
        return ()
    text = layout.config.read_text(encoding="utf-8") if current else HEADER
    toml_file.write_private(layout.config, toml_file.edited(text, missing))
    return tuple(".".join(path) for path in missing)


def move(layout: Layout, postgres_url: str) -> dict[str, str]:
    """Gives a free port to each part whose remembered one is taken. Returns the new addresses by key."""
    current = toml_file.read(layout.config)
    taken = [path for path in LISTENS if _is_taken(_get(current, *path))]
    for section, name in taken:
        current[section].pop(name)
    changes = plan(current, postgres_url, free_ports(layout.mark))
    if changes:
        text = layout.config.read_text(encoding="utf-8")
        toml_file.write_private(layout.config, toml_file.edited(text, changes))
    return {".".join(path): str(changes[path]) for path in taken}


def derive(layout: Layout, settings: StackSettings) -> None:
    """Writes the files that follow from the settings: dbmate's .env and PostgREST's configuration."""
    toml_file.write_private(layout.dotenv, dotenv(settings, os.path.relpath(layout.checkout, layout.home)))
    template = (layout.checkout / "postgrest" / "postgrest.conf").read_text(encoding="utf-8")
    toml_file.write_private(layout.postgrest_conf, render(template, settings))


def plan(current: Sections, postgres_url: str, ports: Iterator[int]) -> dict[tuple[str, str], Value]:
    """The values that are missing, or that no longer follow from the others. A pure function of what is
    there, but for fresh secrets."""
    wanted: dict[tuple[str, str], Value] = {}
    used = {port_of(address) for path in LISTENS if (address := _get(current, *path))}
    for path in LISTENS:
        wanted[path] = _get(current, *path) or f"127.0.0.1:{next(port for port in ports if port not in used)}"
    if postgres_url:
        wanted["local", "postgres_url"] = postgres_url  # it may have come from the environment, once
    server = postgres_url or f"postgresql://{wanted['local', 'postgres_listen']}"
    for path, role in DATABASE_URLS.items():
        wanted[path] = database_url(server, role, _password(_get(current, *path)))
    for path, listen in URLS.items():
        wanted[path] = _url(_get(current, *path), str(wanted[listen]))
    wanted["authsvc", "master_key"] = _get(current, "authsvc", "master_key") or _random_key()
    wanted["local", "demo_password"] = _get(current, "local", "demo_password") or secrets.token_urlsafe(12)
    for path, most in LOGINS.items():
        wanted[path] = _get(current, *path) or most
    wanted["log", "format"] = _get(current, "log", "format") or "console"
    return {path: value for path, value in wanted.items() if _get(current, *path) != value}


def database_url(server: str, role: str, password: str) -> str:
    """The address of our database on this server for a role; hosts and query are the server's."""
    parts = split(server)
    hosts = parts.netloc.rpartition("@")[2]
    secret = f":{quote(password, safe='')}" if password else ""
    netloc = f"{role}{secret}@{hosts}"
    return urlunsplit(("postgresql", netloc, f"/{DATABASE}", parts.query, ""))


def split(url: str) -> SplitResult:
    """Its parts. Raises BadConfiguration, without the password that may stand in it."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadConfiguration("bad_url", f"An address in config.toml is none ({error}). Mend it.") from None


def dotenv(settings: StackSettings, checkout: str) -> str:
    """dbmate's settings, so that plain `dbmate up` works in the folder that this file lies in."""
    values = {"DATABASE_URL": migration_url(settings.owner_url), **migration_environ(checkout)}
    lines = [f"{name}={value}" for name, value in values.items()]
    return "\n".join(["# Written by `precis setup` from config.toml, for dbmate.", *lines, ""])


def migration_environ(checkout: str) -> dict[str, str]:
    return {
        "DBMATE_MIGRATIONS_DIR": os.path.normpath(f"{checkout}/sql/migrations"),
        "DBMATE_MIGRATIONS_TABLE": "dbmate.schema_migrations",
        "DBMATE_SCHEMA_FILE": os.path.normpath(f"{checkout}/sql/schema.sql"),
    }


def migration_url(owner_url: str) -> str:
    """dbmate insists on TLS unless told otherwise; libpq, whose addresses these are, does not."""
    parts = split(owner_url)
    query = (
        parts.query if "sslmode=" in parts.query else "&".join(filter(None, (parts.query, "sslmode=disable")))
    )
    return urlunsplit(parts._replace(scheme="postgres", query=query))


def _get(sections: Sections, section: str, name: str) -> str:
    return cast(str, sections.get(section, {}).get(name, ""))


def _password(url: str) -> str:
    return unquote(split(url).password or "") if url else secrets.token_urlsafe(24)


def _random_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")


def _url(given: str, listen: str) -> str:
    """Follows the port of a part that is reached on this machine only; a person's own address stays."""
    follows = not given or split(given).hostname == "127.0.0.1"
    return f"http://{listen}" if follows and not listen.startswith("unix:") else given


def _is_taken(address: str) -> bool:
    port = port_of(address) if address else None
    return port is not None and not is_free(port)
