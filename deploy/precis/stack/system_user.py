"""The system user who runs PostgreSQL where we are root, which PostgreSQL refuses to be: who that is, and
what lies within that user's reach. None stands for ourselves, where we are not root."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from precis.faults import PartFailed
from precis.stack.process import clean_environ

CANDIDATES = ("postgres", "nobody")


def choose(folder: Path) -> str | None:
    """The owner of a folder that exists, else an unprivileged user of the system."""
    if os.geteuid() != 0:
        return None
    if folder.exists() and folder.stat().st_uid != 0:
        return pwd.getpwuid(folder.stat().st_uid).pw_name
    return unprivileged()


def unprivileged() -> str:
    """Raises PartFailed if there is nobody."""
    known = {account.pw_name for account in pwd.getpwall()}
    for name in CANDIDATES:
        if name in known:
            return name
    raise PartFailed("no_unprivileged_user", "PostgreSQL does not run as root. Create a user named postgres.")


def run(user: str | None, *argv: str, cwd: Path = Path("/")) -> subprocess.CompletedProcess[str]:
    account = pwd.getpwnam(user) if user else None
    return subprocess.run(
        argv,
        cwd=cwd,
        env={**clean_environ(os.environ), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=account and account.pw_uid,
        group=account and account.pw_gid,
        extra_groups=[] if account else None,
    )


def make_folder(user: str | None, folder: Path) -> None:
    """A folder that nobody else can look into."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user:
        account = pwd.getpwnam(user)
        os.chown(folder, account.pw_uid, account.pw_gid)


def write_file(user: str | None, path: Path, text: str) -> None:
    """A file that nobody else can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if user:
            account = pwd.getpwnam(user)
            os.fchown(file.fileno(), account.pw_uid, account.pw_gid)
        file.write(text)


def can_write(user: str | None, folder: Path) -> bool:
    return run(user, "/bin/sh", "-c", 'cd "$1" && test -w .', "-", str(folder)).returncode == 0


def can_run(user: str | None, program: Path) -> bool:
    try:
        return run(user, str(program), "--version").returncode == 0
    except PermissionError:
        return False


def copy_within_reach(base: Path, folders: tuple[str, ...], target: Path) -> None:
    """Copies of these folders below `base`, at the same places below `target`, for everybody to use: all,
    or none."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for folder in folders:
        shutil.copytree(base / folder, partial / folder, ignore=shutil.ignore_patterns("include"))
    for path in (partial, *partial.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    partial.rename(target)
