"""precis.stack.state: what is left on disk, and who may run a stack."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from precis.faults import AlreadyRunning
from precis.stack.process import birth
from precis.stack.state import Record, State, clear_leftovers, exclusive, is_held


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = State(pid=7, model_url="http://x", parts=[Record("authsvc", pid=8, born="9", ready=True)])
    state.write(tmp_path / "state.json")
    assert State.read(tmp_path / "state.json") == state


@pytest.mark.parametrize("text", ["", "{", "[]", '{"parts": [{"nonsense": 1}]}', '{"parts": 3}', "null"])
def test_a_state_that_cannot_be_understood_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert State.read(tmp_path / "state.json") == State()


def test_a_stack_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock"):
        assert is_held(tmp_path / "lock")
        with pytest.raises(AlreadyRunning), exclusive(tmp_path / "lock"):
            pass
    assert not is_held(tmp_path / "lock")


def test_the_right_to_run_ends_with_a_killed_holder(tmp_path: Path) -> None:
    holds = (
        "import sys, time; from pathlib import Path; from precis.stack.state import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print(flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", holds, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    assert is_held(tmp_path / "lock")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert not is_held(tmp_path / "lock")


async def test_a_leftover_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("precis.stack.state.LEFTOVER_SECONDS", 0.05)
    stubborn = await asyncio.create_subprocess_exec("/bin/sleep", "600")
    State(parts=[Record("authsvc", stubborn.pid, birth(stubborn.pid))]).write(tmp_path / "state.json")
    assert await asyncio.to_thread(clear_leftovers, tmp_path / "state.json") == ["authsvc"]
    assert await stubborn.wait() == -9


def test_a_stranger_with_a_recorded_pid_is_left_alone(tmp_path: Path) -> None:
    State(parts=[Record("authsvc", os.getpid(), "an earlier birth")]).write(tmp_path / "state.json")
    assert clear_leftovers(tmp_path / "state.json") == []
