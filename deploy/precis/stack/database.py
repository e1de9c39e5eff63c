"""Makes our database on a server: roles, the database itself, migrations. The SQL lies in sql/; this module
only runs it, and can run it again at any time."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from precis.faults import PartFailed
from precis.layout import program
from precis.setup.config import DATABASE, migration_environ, migration_url, split
from precis.setup.settings import StackSettings
from precis.stack.process import clean_environ

CONNECT_SECONDS = 3
MIGRATION_LOCK = 7_203_641_118  # ours alone; every process that migrates takes it, since dbmate takes none
OPEN_TO_PATTERNS = """
select from pg_roles r join pg_namespace on nspname = 'gate' where rolname in ('pgrest_anon', 'pgrest_auth')
   and has_function_privilege(r.oid, 'pg_catalog.textregexeq(text, text)', 'execute')
"""
LIBPQ_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


async def connect(url: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
    return await psycopg.AsyncConnection.connect(
        url, autocommit=True, application_name="precis", connect_timeout=CONNECT_SECONDS
    )


async def answers(url: str) -> str:
    """The server's version. Raises psycopg.OperationalError while it does not take connections."""
    async with await connect(url) as connection:
        return ".".join(str(connection.info.server_version // 10**n % 100) for n in (4, 0))


async def is_open_to_patterns(url: str) -> bool:
    """Whether clients may bring regular expressions: sql/database.sql has not been run in that database."""
    async with await connect(url) as connection:
        row = await (await connection.execute(OPEN_TO_PATTERNS)).fetchone()
    return row is not None


async def prepare(superuser_url: str, settings: StackSettings, checkout: Path, psql: Path) -> str:
    """Roles, database, migrations. Says what changed."""
    await make_roles(superuser_url, settings, checkout / "sql" / "roles.sql", psql)
    async with await connect(superuser_url) as connection:
        found = await (
            await connection.execute("select from pg_database where datname = %s", [DATABASE])
        ).fetchone()
        if found is None:
            await connection.execute(
                sql.SQL("create database {} owner precis_owner encoding 'UTF8' template template0").format(
                    sql.Identifier(DATABASE)
                )
            )
    await _as_superuser(superuser_url, checkout / "sql" / "database.sql", psql, PGDATABASE=DATABASE)
    return await migrate(settings.owner_url, checkout)


async def migrate(owner_url: str, checkout: Path) -> str:
    """Runs `dbmate migrate` under one lock, so that two starts at once do not both run a migration."""
    async with await connect(owner_url) as connection:
        await connection.execute("set lock_timeout = 0")  # the role's own is short; here waiting is right
        await connection.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        environ = {
            **clean_environ(os.environ),
            **migration_environ("."),
            "DATABASE_URL": migration_url(owner_url),
        }
        command = (program("dbmate"), "--no-dump-schema", "migrate", "--strict")
        code, output = await _run(*command, cwd=checkout, environ=environ)
    if code != 0:  # the exit code alone: dbmate prints "Applied" of a migration that failed too
        raise PartFailed(
            "migration_failed",
            "A migration failed, and its changes were rolled back. Mend sql/migrations, or the data it met.",
            lines=tuple(output.splitlines()[-8:]),
        )
    applied = sum(line.startswith("Applied:") for line in output.splitlines())
    return f"{applied} migrations applied" if applied else "up to date"


async def make_roles(superuser_url: str, settings: StackSettings, script: Path, psql: Path) -> None:
    """The passwords go in by standard input: an argument could be read by everybody on the machine."""
    passwords = {
        "authenticator": settings.postgrest_url,
        "authsvc": settings.authsvc_url,
        "listener": settings.work_url,
        "listener_events": settings.events_url,
        "precis_owner": settings.owner_url,
    }
    lines = [f"\\set {role}_password {_quoted(password_of(url))}" for role, url in passwords.items()]
    await _as_superuser(superuser_url, script, psql, *lines)


async def _as_superuser(url: str, script: Path, psql: Path, *before: str, **changed: str) -> None:
    """Runs a file of SQL with psql, after these lines; `changed` are variables of libpq."""
    environ = {**clean_environ(os.environ), **_libpq(url), **changed}
    command = (str(psql), "--no-psqlrc", "--quiet", "--no-password", "--file", "-")
    text = "\n".join([*before, f"\\i {_quoted(str(script))}", ""])
    code, output = await _run(*command, cwd=script.parent, environ=environ, text=text)
    if code != 0:
        raise PartFailed(
            "roles_failed",
            "The database roles could not be made. local.postgres_url must be a superuser's.",
            lines=tuple(output.splitlines()[-8:]),
        )


def password_of(url: str) -> str:
    return unquote(split(url).password or "")


async def _run(*argv: str, cwd: Path, environ: Mapping[str, str], text: str = "") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=cwd, env=dict(environ), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = await process.communicate(text.encode())
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return await process.wait(), output.decode(errors="replace").strip()


def _quoted(text: str) -> str:
    """A psql argument."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _libpq(url: str) -> dict[str, str]:
    return {
        LIBPQ_VARIABLES[name]: str(value)
        for name, value in conninfo_to_dict(url).items()
        if name in LIBPQ_VARIABLES
    }
