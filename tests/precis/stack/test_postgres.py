"""precis.stack.postgres: a cluster of our own, made, started, and started again after a crash."""

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from precis.faults import PartFailed
from precis.layout import Layout, locate
from precis.setup.ports import free_ports
from precis.stack import database, postgres
from precis.stack.postgres import Cluster
from precis.stack.process import Command, spawn

from tests import fix_postgres

pytestmark = pytest.mark.services


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that other users may enter, unlike pytest's own."""
    with TemporaryDirectory(prefix="precis-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def layout(home: Path) -> Layout:
    made = locate({"PRECIS_CONFIG": str(home / "config.toml")})
    made.data.mkdir()
    return made


def prepared(layout: Layout) -> Cluster:
    return postgres.prepare(layout, next(free_ports(layout.mark)))


@asynccontextmanager
async def serving(cluster: Cluster, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The server, ready; stopped at the end as the supervisor stops it."""
    server = await spawn(cluster.server(), log)
    try:
        async with asyncio.timeout(20):
            while not await answers(cluster):
                assert server.returncode is None, log.read_text()
        yield server
    finally:
        if server.returncode is None:
            server.send_signal(cluster.server().stop_signal)
        await server.wait()


async def answers(cluster: Cluster) -> bool:
    try:
        return bool(await database.answers(cluster.superuser_url))
    except psycopg.OperationalError:
        return False


async def count(cluster: Cluster) -> int:
    async with await database.connect(cluster.superuser_url) as connection:
        await connection.execute("create table if not exists kept (n int)")
        await connection.execute("insert into kept values (1)")
        row = await (await connection.execute("select count(*) from kept")).fetchone()
    assert row is not None
    return int(str(row[0]))


async def test_what_is_stored_is_there_after_a_stop_and_a_start(layout: Layout, home: Path) -> None:
    for expected in (1, 2):
        cluster = prepared(layout)
        async with serving(cluster, home / "log") as server:
            assert await count(cluster) == expected
        assert server.returncode == 0


async def test_it_asks_for_a_password_on_its_port_and_on_its_socket(layout: Layout, home: Path) -> None:
    cluster = prepared(layout)
    async with serving(cluster, home / "log"):
        for host in ("127.0.0.1", cluster.sockets):
            with pytest.raises(psycopg.OperationalError, match="no password supplied"):
                await database.connect(f"postgresql://postgres@/postgres?host={host}&port={cluster.port}")
    assert stat.S_IMODE(cluster.password.stat().st_mode) == 0o600


async def test_a_half_made_data_directory_is_made_anew(layout: Layout, home: Path) -> None:
    folder = prepared(layout).folder
    (folder / "data").rename(folder / "data.partial")
    (folder / "data.partial/PG_VERSION").unlink()
    async with serving(prepared(layout), home / "log"):
        assert not (folder / "data.partial").exists()


async def test_a_server_that_outlived_its_parent_is_ended_and_its_data_kept(
    layout: Layout, home: Path
) -> None:
    cluster = prepared(layout)
    async with serving(cluster, home / "log") as old:
        assert await count(cluster) == 1
        said = await asyncio.to_thread(postgres.clear_leftovers, cluster)
        assert said is not None
        assert await old.wait() == 0
    async with serving(cluster, home / "log"):
        assert await count(cluster) == 2


async def test_a_killed_servers_lock_files_do_not_stop_the_next_even_if_its_pid_is_taken(
    layout: Layout, home: Path
) -> None:
    cluster = prepared(layout)
    async with serving(cluster, home / "log") as old:
        old.kill()
        await old.wait()
    stranger = await spawn(Command(("/bin/sleep", "600"), Path("/"), {}, user=cluster.user), home / "log")
    try:
        lock = cluster.data / "postmaster.pid"
        lock.write_text(lock.read_text().replace(str(old.pid), str(stranger.pid), 1))
        await asyncio.to_thread(postgres.clear_leftovers, cluster)
        async with serving(cluster, home / "log"):
            assert stranger.returncode is None
    finally:
        stranger.kill()
        await stranger.wait()


def test_data_of_another_version_is_left_alone_with_a_sentence(layout: Layout) -> None:
    (prepared(layout).data / "PG_VERSION").write_text("17\n")
    with pytest.raises(PartFailed, match="made by PostgreSQL 17"):
        prepared(layout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
async def test_in_a_folder_closed_to_others_root_puts_it_elsewhere_and_remembers(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "ELSEWHERE", home / "lib")
    monkeypatch.setattr(postgres, "wheel_binaries", lambda: closed_copy(home))
    (home / "lib").mkdir()
    closed = locate({"PRECIS_CONFIG": str(home / "closed/config.toml")})
    closed.data.mkdir(parents=True)
    closed.home.chmod(0o700)
    cluster = prepared(closed)
    assert cluster.folder.parent == home / "lib"
    assert closed.cluster.resolve() == cluster.folder
    assert prepared(closed).folder == cluster.folder
    async with serving(cluster, home / "log"):
        assert await count(cluster) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
def test_the_tests_own_server_starts_from_a_checkout_that_is_closed_to_its_user(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "wheel_binaries", lambda: closed_copy(home))
    fix_postgres.bin_dir.cache_clear()
    try:
        with fix_postgres.running_cluster("18") as cluster:
            assert cluster.psql("postgres", "-Atc", "select 1") == "1\n"
    finally:
        fix_postgres.bin_dir.cache_clear()


def closed_copy(home: Path) -> Path:
    """The wheel's PostgreSQL where nobody but root can reach it."""
    target = home / "closed-binaries"
    if not target.exists():
        for folder in (postgres.INSTALLATION, postgres.LIBRARIES):
            shutil.copytree(WHEEL.parents[2] / folder, target / folder)
        target.chmod(0o700)
    return target / postgres.INSTALLATION / "bin"


WHEEL = postgres.wheel_binaries()
