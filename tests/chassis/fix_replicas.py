"""Servers that a test may stop, freeze and promote: one alone, or a primary and its standby."""

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fix_postgres import Cluster, free_port, running_cluster, server_user


@dataclass(frozen=True)
class Pair:
    primary: Cluster
    standby: Cluster

    def url(self, *clusters: Cluster, database: str = "postgres") -> str:
        """A URL that lists these hosts, in this order."""
        hosts = ",".join(f"127.0.0.1:{cluster.port}" for cluster in clusters)
        return f"postgresql://postgres@{hosts}/{database}"

    def promote(self) -> None:
        """The standby takes over, and nobody tells the old primary."""
        self.standby.run("pg_ctl", "-D", str(self.standby.folder / "data"), "-w", "promote")


@contextmanager
def following(primary: Cluster) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="precis-pg-", dir="/tmp"))
    if user := server_user():
        os.chown(folder, user.pw_uid, user.pw_gid)
    standby = Cluster(primary.bin, folder, free_port(), primary.options)
    try:
        source = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres")
        standby.run("pg_basebackup", "-D", str(folder / "data"), "-R", "-c", "fast", "--no-sync", *source)
        standby.start()
        yield standby
        standby.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A server process that keeps its connections and answers nothing, as behind a dead network."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def silent_host() -> Iterator[int]:
    """The port of a host that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server that tests may restart; it runs again when they end."""
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with running_cluster() as primary, following(primary) as standby:
        yield Pair(primary, standby)


@pytest.fixture
def own_pair() -> Iterator[Pair]:
    """A pair that the test may promote."""
    with running_cluster() as primary, following(primary) as standby:
        yield Pair(primary, standby)
