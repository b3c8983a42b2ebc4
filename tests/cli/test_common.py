"""What the commands share."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from myscheduler.base import errors
from myscheduler.base.errors import UsageError
from myscheduler.cli import common
from myscheduler.deploy.sockets import PortInUseError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InternalError("what happened"), 1),
        (errors.UsageError("what happened"), 2),
        (errors.ConnectionFailedError("what happened"), 3),
        (errors.ClosedError("what happened"), 3),
        (PortInUseError("what happened"), 4),
        (errors.AuthenticationError("what happened"), 5),
        (errors.VersionMismatchError("what happened"), 5),
    ],
)
def test_errors_are_one_line_and_a_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, common.exit_codes():
        raise error
    assert caught.value.code == code
    assert capsys.readouterr().err == "Error: what happened\n"


def test_bugs_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), common.exit_codes():
        raise ZeroDivisionError


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_no_warning(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    common.warn_of_plaintext(host, "the scheduler")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "", "10.0.0.5", "::", "head-node"])
def test_plain_text_that_other_machines_can_reach_is_warned_about(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    common.warn_of_plaintext(host, "the scheduler")
    assert capsys.readouterr().err.startswith("WARNING: the scheduler can be reached from other machines.")


def test_host_and_interface() -> None:
    assert common.choose_host(None, None, "127.0.0.1") == "127.0.0.1"
    assert common.choose_host("10.0.0.5", None, "127.0.0.1") == "10.0.0.5"
    assert common.choose_host(None, "lo", "") == "127.0.0.1"
    with pytest.raises(UsageError, match="not both"):
        common.choose_host("10.0.0.5", "lo", "")
    with pytest.raises(UsageError, match=r"'nix0' has no IPv4 address .*interfaces here: lo"):
        common.choose_host(None, "nix0", "")


@pytest.mark.parametrize("text", [None, "", " , "])
def test_no_resources(text: str | None) -> None:
    assert common.parse_resources(text) == {}


def test_resources() -> None:
    assert common.parse_resources("GPU=2,MEM=1e9 X=.5") == {"GPU": 2.0, "MEM": 1e9, "X": 0.5}


@pytest.mark.parametrize("text", ["GPU", "GPU=", "=2", "GPU=0", "GPU=-1", "GPU=nan", "GPU=inf", "GPU=2=3"])
def test_resources_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="write NAME=AMOUNT with an amount above 0"):
        common.parse_resources(text)


def test_the_pid_file_is_there_as_long_as_we_are(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with common.pid_file(str(path)):
        assert int(path.read_text()) > 0
    assert not path.exists()
    with common.pid_file(None):
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="cannot write --pid-file"), common.pid_file(str(tmp_path / "no" / "pid")):
        pass


def test_version_comes_before_everything_else() -> None:
    @click.command()
    @click.option("--needed", required=True)
    @common.version_option
    def command(needed: str) -> None:
        raise AssertionError(needed)

    result = CliRunner().invoke(command, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith("myscheduler ")


async def test_one_wish_to_stop_may_be_delivered_twice() -> None:
    loop = asyncio.get_running_loop()
    stopping = common.stop_signal()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await stopping == "SIGTERM received"
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(3):  # turns of the loop: the signal comes as an event of its own
            await asyncio.sleep(0)
        assert stopping.result() == "SIGTERM received"
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
