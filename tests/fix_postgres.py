"""A real PostgreSQL for tests: a throw-away cluster per test process, a migrated template, a clone per test.

`database` is such a clone; `database.url("listener")` connects as that role. `PRECIS_TEST_POSTGRES` chooses
the major version (18 from the wheel, 15 from the system's packages).
"""

import atexit
import contextlib
import functools
import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from precis.stack import postgres, system_user

ROOT = Path(__file__).resolve().parent.parent
DBMATE = Path(sys.executable).parent / "dbmate"
DEFAULT_VERSION = os.environ.get("PRECIS_TEST_POSTGRES", "18")
# As in production, but without waiting for the disk.
SERVER_OPTIONS = ("-c", "fsync=off", "-c", "max_connections=200", "-c", "listen_addresses=127.0.0.1")


@functools.cache
def bin_dir(version: str) -> Path:
    """Where the binaries of that major version are; a test that needs them fails if they are missing. The
    wheel's are copied, once in a test process, where the server's user cannot reach them."""
    if version == "18":
        user = server_user()
        return postgres.reachable_binaries(_folder_for_copies(), user and user.pw_name)
    folder = Path(f"/usr/lib/postgresql/{version}/bin")
    if not (folder / "initdb").exists():
        raise FileNotFoundError(f"PostgreSQL {version} is not installed: {folder}")
    return folder


def _folder_for_copies() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="precis-pg-bin-", dir="/tmp"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def free_port() -> int:
    """From below the range that Linux hands to outgoing connections, one of which could else take the port
    between this look and its use. Random by the system: seeds are the same in every test process."""
    while True:
        port = random.SystemRandom().randrange(10_000, 20_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


@functools.cache
def server_user() -> pwd.struct_passwd | None:
    """Postgres refuses to run as root: then somebody unprivileged owns the cluster."""
    return pwd.getpwnam(system_user.unprivileged()) if os.geteuid() == 0 else None


@dataclass
class Cluster:
    """A running server. `stop` and `start` are for tests that take it away."""

    bin: Path
    folder: Path
    port: int
    options: tuple[str, ...] = SERVER_OPTIONS
    process: subprocess.Popen[bytes] | None = field(default=None)

    def url(self, role: str, database: str) -> str:
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def run(self, *command: str) -> None:
        user = server_user()
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        subprocess.run(
            [self.bin / command[0], *command[1:]],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **identity,
        )

    def start(self) -> None:
        settings = " ".join(
            [*self.options, "-c", f"unix_socket_directories={self.folder}", "-p", str(self.port)]
        )
        self.run(
            "pg_ctl",
            "-D",
            str(self.folder / "data"),
            "-l",
            str(self.folder / "log"),
            "-o",
            settings,
            "-w",
            "start",
        )

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", mode, "-w", "stop")

    def psql(self, database: str, *arguments: str) -> str:
        command = [
            self.bin / "psql",
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            self.url("postgres", database),
            *arguments,
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def dbmate(self, database: str, *arguments: str) -> str:
        """Run dbmate as the role that owns the schema, as in production."""
        environment = os.environ | {
            "DATABASE_URL": self.url("precis_owner", database) + "?sslmode=disable",
            "DBMATE_MIGRATIONS_DIR": str(ROOT / "sql/migrations"),
            "DBMATE_MIGRATIONS_TABLE": "dbmate.schema_migrations",
            "PATH": f"{self.bin}:{os.environ['PATH']}",
        }
        command = [DBMATE, "--no-dump-schema", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def create_database(self, name: str, *, template: str | None = None) -> "Database":
        clause = f' template "{template}" strategy file_copy' if template else ""
        self.psql("postgres", "-c", f'create database "{name}" owner precis_owner{clause}')
        if not template:
            self.psql(name, "-f", str(ROOT / "sql/database.sql"))
        return Database(self, name)


@dataclass(frozen=True)
class Database:
    """One database of a cluster."""

    cluster: Cluster
    name: str

    def url(self, role: str = "postgres") -> str:
        return self.cluster.url(role, self.name)

    def connect(self, role: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url(role), autocommit=True)


@contextlib.contextmanager
def running_cluster(
    version: str = DEFAULT_VERSION, *, options: tuple[str, ...] = SERVER_OPTIONS
) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="precis-pg-", dir="/tmp"))
    user = server_user()
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    folder.chmod(0o755)
    cluster = Cluster(bin_dir(version), folder, free_port(), options)
    try:
        cluster.run("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8",
                    "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        cluster.start()
        try:
            cluster.psql("postgres", "-f", str(ROOT / "sql/roles.sql"))
            yield cluster
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                cluster.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        running.create_database("template_precis")
        running.dbmate("template_precis", "up")
        yield running


_numbers = iter(range(1, 1_000_000))


@pytest.fixture
def database(cluster: Cluster) -> Iterator[Database]:
    name = f"test_{next(_numbers)}"
    yield cluster.create_database(name, template="template_precis")
    cluster.psql("postgres", "-c", f'drop database "{name}" with (force)')


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A cluster that the test may stop, with one migrated database called precis."""
    with running_cluster() as running:
        running.create_database("precis")
        running.dbmate("precis", "up")
        yield running
