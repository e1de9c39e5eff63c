"""Where things lie on disk: the checkout that the command came from, and the folder of its config.toml,
which is the checkout too unless $PRECIS_CONFIG names another. Knows no content of any file."""

import contextlib
import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from precis.faults import BadConfiguration

DEFAULT_DATA_DIR = ".precis"


@dataclass(frozen=True, slots=True)
class Layout:
    checkout: Path  # holds sql/ and postgrest/
    config: Path  # config.toml
    data: Path  # everything that a running stack writes

    @property
    def home(self) -> Path:
        return self.config.parent

    @property
    def dotenv(self) -> Path:
        return self.home / ".env"

    @property
    def postgrest_conf(self) -> Path:
        return self.data / "postgrest.conf"

    @property
    def logs(self) -> Path:
        return self.data / "log"

    @property
    def lock(self) -> Path:
        return self.data / "lock"

    @property
    def state(self) -> Path:
        return self.data / "state.json"

    @property
    def cache(self) -> Path:
        """For downloads, where there is no better place."""
        return self.data / "cache"

    @property
    def cluster(self) -> Path:
        """The folder of our own Postgres, or a link to it where it had to be made elsewhere."""
        return self.data / "postgres"

    @property
    def mark(self) -> str:
        """Tells this stack from another one on the same machine."""
        return hashlib.blake2s(str(self.home).encode(), digest_size=5).hexdigest()

    def log(self, part: str) -> Path:
        return self.logs / f"{part.replace(' ', '-')}.log"

    def shown(self, path: Path) -> str:
        """A path as a person standing in the stack's folder would type it."""
        return str(path.relative_to(self.home)) if path.is_relative_to(self.home) else str(path)


def locate(environ: Mapping[str, str] = os.environ) -> Layout:
    checkout = Path(__file__).resolve().parents[2]
    given = environ.get("PRECIS_CONFIG")
    config = (expanded(given) if given else checkout / "config.toml").absolute()
    return Layout(checkout=checkout, config=config, data=config.parent / DEFAULT_DATA_DIR)


def program(name: str) -> str:
    """A program that was installed together with this one."""
    return str(Path(sys.executable).parent / name)


def parts_cache(fallback: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Downloads that every checkout of this user can share; in `fallback` where the user has no home that
    can be written to. Raises BadConfiguration if the place named by $XDG_CACHE_HOME cannot."""
    if given := environ.get("XDG_CACHE_HOME"):
        if not _can_make(expanded(given) / "precis"):
            raise BadConfiguration("no_cache", f"Nothing can be written to {given} (XDG_CACHE_HOME).")
        return expanded(given) / "precis"
    with contextlib.suppress(BadConfiguration):
        if _can_make(shared := expanded("~/.cache/precis")):
            return shared
    return fallback


def expanded(path: str) -> Path:
    """With the home folder for `~`. Raises BadConfiguration if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        message = f"{path}: there is no such home folder. Name it in full."
        raise BadConfiguration("no_home", message) from error


def _can_make(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
