"""``myscheduler journal``: what users see of it."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from myscheduler.base.credentials import write_scheduler_file
from myscheduler.base.errors import UsageError
from myscheduler.cli.scheduler import main
from myscheduler.client.api import Client


def fail() -> None:
    raise ValueError("my password is 1234")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        yield client


@pytest.fixture(scope="module")
def saved(client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a cluster in which a little has happened."""
    path = tmp_path_factory.mktemp("journal") / "journal"
    assert client.submit(sum, (1, 2), key=("sum", 0)).result(timeout=30) == 3
    assert isinstance(client.submit(fail, key="bad", pure=False).exception(timeout=30), ValueError)
    client.save_journal(path)
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(main, ["journal", *map(str, arguments)])
    return f"{result.exit_code}\n{result.output}"


def test_only_its_owner_can_read_it_and_it_holds_nobodys_data(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    content = gzip.decompress(saved.read_bytes())
    assert b"ValueError" in content
    assert not any(secret in content for secret in (b"1234", b"password", b"cloudpickle", b"\x80\x05"))


def test_a_replay_comes_to_the_same(saved: Path) -> None:
    output = run("replay", saved, "--check", "--explain", '["sum", 0]', "--explain", "bad")
    assert output.startswith("0\n")
    assert "Replay        the same as then, by a digest of all tables" in output
    assert "Workers       1: 0 (running)" in output
    assert "'bad' failed: ValueError\n" in output or "The scheduler does not know 'bad'" in output
    assert "('sum', 0)" in output


def test_it_can_be_stopped_early(saved: Path) -> None:
    output = run("replay", saved, "--until", "0")
    assert "Turns         1 of " in output
    assert "not compared: stopped before the end" in output


def test_a_command_saves_it(client: Client, tmp_path: Path) -> None:
    target = client.cluster
    file = write_scheduler_file(str(tmp_path / "cluster.json"), target.scheduler_address, target.credentials)
    output = run("save", "--scheduler-file", file, "-o", tmp_path / "journal")
    assert (
        output
        == f"0\nThe journal is in {tmp_path}/journal. What happened: myscheduler journal replay {tmp_path}/journal\n"
    )
    assert "the same as then" in run("replay", tmp_path / "journal")


def test_what_goes_wrong_is_said(saved: Path, client: Client, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.write_bytes(saved.read_bytes()[:-10])
    assert "is no journal that was saved whole" in run("replay", half)
    half.write_bytes(b"something else")
    assert "is no journal that was saved whole" in run("replay", half)
    half.write_bytes(gzip.compress(b"something else"))
    assert run("replay", half) == "2\nError: this is no journal of a scheduler\n"
    assert "--explain [x: this is no JSON" in run("replay", saved, "--explain", "[x")
    with pytest.raises(UsageError, match="cannot write the journal to .*/missing/journal: No such file or directory"):
        client.save_journal(tmp_path / "missing" / "journal")
    assert os.listdir(tmp_path) == ["half"]


def test_the_scheduler_itself_still_starts_by_the_same_name() -> None:
    result = CliRunner().invoke(main, ["journal"])
    assert "replay" in result.output
    assert CliRunner().invoke(main, ["jurnal"]).exit_code == 2
