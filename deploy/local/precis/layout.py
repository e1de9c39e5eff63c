"""Where things lie on disk: the checkout that the command came from, and the folder of its config.toml,
which is the checkout too unless $PRECIS_CONFIG names another. Knows no content of any file."""

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    checkout = Path(__file__).resolve().parents[3]
    config = Path(environ.get("PRECIS_CONFIG") or checkout / "config.toml").expanduser().absolute()
    return Layout(checkout=checkout, config=config, data=config.parent / DEFAULT_DATA_DIR)


def program(name: str) -> str:
    """A program that was installed together with this one."""
    return str(Path(sys.executable).parent / name)


def parts_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """Downloads that every checkout of this user can share."""
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "precis"
