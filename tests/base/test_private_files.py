"""Files that only their owner may touch."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from myscheduler.base.errors import AuthenticationError, ConnectionFailedError
from myscheduler.base.private_files import private_directory, read_private, write_private

CONTENT = {"myscheduler": 1, "cluster": "c"}


def test_round_trip(tmp_path: Path) -> None:
    assert read_private(str(write_private(tmp_path / "s.json", CONTENT))) == CONTENT


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = write_private(tmp_path / "s.json", CONTENT)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_replaces_an_open_file_with_a_closed_one(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as reader:
        write_private(path, CONTENT)
        assert reader.read() == "old"  # whoever had it open sees nothing of the new one
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_writing_does_not_follow_a_symbolic_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "s.json"
    path.symlink_to(victim)
    write_private(path, CONTENT)
    assert victim.read_text() == "precious"
    assert not path.is_symlink()


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.json").mkdir()
    with pytest.raises(OSError):
        write_private(tmp_path / "s.json", CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o610, 0o666])
def test_refuses_a_file_open_to_others(tmp_path: Path, mode: int) -> None:
    path = write_private(tmp_path / "s.json", CONTENT)
    path.chmod(mode)
    with pytest.raises(AuthenticationError, match=rf"has mode {mode:04o}: .*chmod 600 {path}"):
        read_private(str(path))


def test_refuses_a_symbolic_link(tmp_path: Path) -> None:
    path = write_private(tmp_path / "s.json", CONTENT)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    with pytest.raises(AuthenticationError, match="link.json is a symbolic link; name the file itself"):
        read_private(str(link))


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (fifo, tmp_path):
        with pytest.raises(AuthenticationError, match="no regular file"):
            read_private(str(path))


def test_refuses_a_file_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_private(tmp_path / "s.json", CONTENT)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(AuthenticationError, match="belongs to user .*, not to you"):
        read_private(str(path))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\x00", b"[]", b'{"myscheduler": 2}', b" " * 70_000 + b"{}", b"[" * 60_000]
)
def test_refuses_other_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.json"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(AuthenticationError, match="is no scheduler file of this version"):
        read_private(str(path))


def test_a_missing_file_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailedError, match="`myscheduler --scheduler-file .*nowhere.json` writes it"):
        read_private(str(tmp_path / "nowhere.json"))


def test_a_directory_is_made_private(tmp_path: Path) -> None:
    path = private_directory(tmp_path / "a" / "b", 0o077)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o750)
    with pytest.raises(AuthenticationError, match=f"open to other users; close it: chmod 700 {path}"):
        private_directory(path, 0o077)
    assert private_directory(path, 0o022) == path


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AuthenticationError, match="set MYSCHEDULER_HOME to a directory of yours"):
        private_directory(tmp_path / "file" / "below", 0o077)
