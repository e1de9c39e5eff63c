"""Running a process: what signals do, what systemd hears, and with which code it ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chassis.service import EXIT_CONFIG, EXIT_USAGE, settings_or_exit
from chassis.settings import key

PREAMBLE = """
import asyncio, sys
from chassis.logging import configure
from chassis.service import run
configure("part", level="info", format="json")
"""
SERVES = """
async def main(lifecycle):
    lifecycle.ready("serving")
    await lifecycle.stopping.wait()
sys.exit(run(main))
"""
IGNORES = """
async def main(lifecycle):
    lifecycle.ready()
    await asyncio.Event().wait()
sys.exit(run(main))
"""


@dataclass(frozen=True, slots=True)
class Sample:
    attempts: int = key("work.max_attempts")


class Manager:
    """systemd's end of the notify protocol."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(10)

    def hear(self) -> str:
        return self.socket.recv(4096).decode()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()


@contextmanager
def process(code: str, **environ: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", PREAMBLE + code]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=os.environ | environ, **streams) as running:  # type: ignore[call-overload]
        try:
            yield running
        finally:
            running.kill()


def ended(code: str) -> tuple[int, list[str]]:
    with process(code) as running:
        output, errors = running.communicate(timeout=10)
        assert errors == ""
        return running.returncode, output.splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_service_to_stop_and_it_ends_well(manager: Manager, number: signal.Signals) -> None:
    with process(SERVES, NOTIFY_SOCKET=manager.socket.getsockname()) as running:
        assert manager.hear() == "READY=1\nSTATUS=serving"
        running.send_signal(number)
        assert manager.hear() == "STOPPING=1"
        assert running.wait(10) == 0


def test_a_second_signal_ends_a_service_that_does_not_stop(manager: Manager) -> None:
    with process(IGNORES, NOTIFY_SOCKET=manager.socket.getsockname()) as running:
        manager.hear()
        running.terminate()
        assert manager.hear() == "STOPPING=1"
        running.terminate()
        assert running.wait(10) == 128 + signal.SIGTERM


def test_an_abstract_notify_socket_is_reached() -> None:
    name = f"precis-test-{os.getpid()}"
    abstract = Manager(f"\0{name}")
    with process(SERVES, NOTIFY_SOCKET=f"@{name}"):
        assert abstract.hear().startswith("READY=1")
    abstract.socket.close()


def test_without_a_manager_a_service_runs_all_the_same() -> None:
    with process(SERVES) as running:
        assert running.stdout is not None
        assert "service.ready" in running.stdout.readline()
        running.terminate()
        assert running.wait(10) == 0


def test_a_manager_that_is_gone_does_not_stop_the_service(tmp_path: Path) -> None:
    with process(SERVES, NOTIFY_SOCKET=str(tmp_path / "nobody")) as running:
        assert running.stdout is not None
        assert "service.manager_unreachable" in running.stdout.readline()
        assert "service.ready" in running.stdout.readline()
        running.terminate()
        assert running.wait(10) == 0


def test_a_ready_service_answers_its_watchdog(manager: Manager) -> None:
    with process(IGNORES, NOTIFY_SOCKET=manager.socket.getsockname(), WATCHDOG_USEC="100000"):
        heard = [manager.hear() for _ in range(4)]
    assert heard == ["READY=1\nSTATUS=", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]


def test_a_hung_loop_no_longer_answers_the_watchdog(manager: Manager) -> None:
    hangs = SERVES.replace(
        "await lifecycle.stopping.wait()", "await asyncio.sleep(0); import time; time.sleep(60)"
    )
    with process(hangs, NOTIFY_SOCKET=manager.socket.getsockname(), WATCHDOG_USEC="100000"):
        assert [manager.hear(), manager.hear()] == ["READY=1\nSTATUS=serving", "WATCHDOG=1"]
        manager.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            manager.hear()


def test_a_watchdog_meant_for_another_process_is_not_answered(manager: Manager) -> None:
    code = SERVES.replace("await lifecycle", 'lifecycle.status("x"); await lifecycle')
    with process(code, NOTIFY_SOCKET=manager.socket.getsockname(), WATCHDOG_USEC="1000", WATCHDOG_PID="1"):
        assert [manager.hear(), manager.hear()] == ["READY=1\nSTATUS=serving", "STATUS=x"]


def test_a_main_that_returns_ends_the_process_well() -> None:
    code, lines = ended("async def main(lifecycle): pass\nsys.exit(run(main))")
    assert code == 0
    assert "service.stopped" in lines[-1]


GROUP = """
async def fail(text): raise ValueError(text)
async def main(lifecycle):
    async with asyncio.TaskGroup() as group:
        group.create_task(fail("first"))
        group.create_task(fail("second"))
sys.exit(run(main))
"""


def test_a_group_of_failures_is_told_in_one_line_and_ends_with_1() -> None:
    code, lines = ended(GROUP)
    assert (code, len(lines)) == (1, 1)
    assert "service.failed" in lines[0]
    assert "ValueError: first" in lines[0]
    assert "ValueError: second" in lines[0]


def test_a_cancelled_main_is_a_failure_too() -> None:
    code, lines = ended("async def main(lifecycle): raise asyncio.CancelledError\nsys.exit(run(main))")
    assert (code, len(lines)) == (1, 1)


def exit_of(call: Callable[[], object]) -> object:
    with pytest.raises(SystemExit) as caught:
        call()
    return caught.value.code


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_settings_without_fault_are_handed_over() -> None:
    assert settings_or_exit(Sample, []) == Sample(5)


def test_check_prints_the_settings_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(lambda: settings_or_exit(Sample, ["--check"])) == 0
    assert capsys.readouterr().out == "work.max_attempts = 5\n"


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_faulty_settings_end_with_the_code_for_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("PRECIS_WORK_MAX_ATTEMPTS", "many")
    assert exit_of(lambda: settings_or_exit(Sample, arguments)) == EXIT_CONFIG
    assert "work.max_attempts" in capsys.readouterr().err


def test_an_unknown_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(lambda: settings_or_exit(Sample, ["--chekc"])) == EXIT_USAGE
    assert "--chekc" in capsys.readouterr().err
