"""precis.stack.process and precis.stack.leash: children that are known again and die with their parent."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from precis.stack.process import Command, birth, clean_environ, ending, last_lines, outlasting, spawn

PARENT = """
import asyncio, os, sys
from pathlib import Path
from precis.stack.process import Command, spawn
async def main():
    log, user, *argv = sys.argv[1:]
    child = await spawn(Command(tuple(argv), Path("/"), dict(os.environ), user=user or None), Path(log))
    await child.wait()
asyncio.run(main())
"""


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "up")
    child = ("/bin/sh", "-c", 'echo $$ > "$0"; exec sleep 600', str(tmp_path / "up"))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "log"), "", *child])
    pid = int((tmp_path / "up").read_text())
    assert birth(pid) is not None
    parent.kill()
    parent.wait()
    assert outlasting([pid], 5.0) == []


async def test_a_child_leads_a_session_of_its_own_so_that_ctrl_c_passes_it_by(tmp_path: Path) -> None:
    child = await spawn(Command(("/bin/sleep", "600"), tmp_path, {}), tmp_path / "log")
    try:
        assert os.getsid(child.pid) == child.pid
    finally:
        child.kill()
        await child.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_as_root_a_child_can_be_somebody_else_and_keeps_no_group_of_ours(tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = [sys.executable, "-c", PARENT, str(log), "nobody", "/usr/bin/id", "-nG"]
    subprocess.run(arguments, extra_groups=["daemon"], check=True, capture_output=True)
    shown = subprocess.run(["id", "-nG", "nobody"], capture_output=True, text=True, check=True).stdout
    assert log.read_text() == shown


async def test_a_program_that_is_not_there_ends_with_a_sentence(tmp_path: Path) -> None:
    child = await spawn(Command(("/nowhere/postgrest",), tmp_path, {}), tmp_path / "log")
    assert await child.wait() == 1
    assert last_lines(tmp_path / "log", 3) == ("cannot start /nowhere/postgrest: No such file or directory",)


async def test_a_process_is_told_from_a_later_one_with_its_pid(tmp_path: Path) -> None:
    child = await spawn(Command(("/bin/sleep", "600"), tmp_path, {}), tmp_path / "log")
    born = birth(child.pid)
    child.kill()
    await child.wait()
    assert born is not None
    assert birth(child.pid) is None
    assert birth(os.getpid()) != born


async def test_what_outlasts_its_time_is_named(tmp_path: Path) -> None:
    child = await spawn(Command(("/bin/sleep", "600"), tmp_path, {}), tmp_path / "log")
    try:
        assert await asyncio.to_thread(outlasting, [child.pid], 0.05) == [child.pid]
    finally:
        child.kill()
        await child.wait()


def test_a_callers_database_variables_do_not_reach_a_part() -> None:
    given = {
        "PGHOST": "x",
        "PGRST_DB_URI": "y",
        "DATABASE_URL": "z",
        "PATH": "/bin",
        "PRECIS_LOG_LEVEL": "debug",
    }
    assert clean_environ(given) == {"PATH": "/bin", "PRECIS_LOG_LEVEL": "debug"}


def test_the_end_of_a_log_is_its_last_lines_that_say_something(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a\n\nb\n   \nc\n")
    assert last_lines(tmp_path / "log", 2) == ("b", "c")
    assert last_lines(tmp_path / "none", 2) == ()


def test_an_ending_is_said_in_words() -> None:
    assert (ending(78), ending(-signal.SIGKILL)) == ("ended with code 78", "was killed by SIGKILL")
