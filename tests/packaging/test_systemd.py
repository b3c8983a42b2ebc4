"""The units for systemd: they parse, call our commands with options that exist, and are explained."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from myscheduler.cli.scheduler import main as myscheduler
from myscheduler.cli.worker import main as myworker
from tests.support.repository import ROOT, read

FOLDER = ROOT / "examples" / "systemd"
COMMANDS: dict[str, click.Command] = {"myscheduler": myscheduler, "myworker": myworker}


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(read(f"examples/systemd/{name}.service"))
    return parser


@pytest.mark.parametrize("name", COMMANDS)
def test_options_exist(name: str) -> None:
    program, *arguments = shlex.split(unit(name)["Service"]["ExecStart"])
    assert program == f"/opt/myscheduler/bin/{name}"
    literal = [argument for argument in arguments if not argument.startswith("$")]
    assert COMMANDS[name].make_context(name, literal).params["scheduler_file"] == "cluster.json"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stop_reaches_the_command_alone_and_leaves_it_time(name: str) -> None:
    service = unit(name)["Service"]
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) >= 20
    assert service["User"] == "myscheduler"
    assert {"2", "5"} <= set(service["RestartPreventExitStatus"].split())


def test_the_page_explains_the_units() -> None:
    page = read("docs/howto/systemd.md")
    for name in COMMANDS:
        assert f"`{name}.service`" in page
    for variable in ("MYSCHEDULER_OPTIONS", "MYWORKER_OPTIONS"):
        assert f"{variable}=" in page
        assert any(f"${variable}" in unit(name)["Service"]["ExecStart"] for name in COMMANDS)


def test_systemd_accepts_them(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the units are not verified")
    for path in FOLDER.glob("*.service"):
        # Programs and users of this machine, since ours are not installed.
        text = path.read_text().replace("/opt/myscheduler/bin/", "/usr/bin/env ")
        (tmp_path / path.name).write_text(text.replace("=myscheduler\n", "=root\n"))
    command = ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.glob("*.service"))]
    verified = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    complaints = [line for line in verified.stderr.splitlines() if str(tmp_path) in line or line.startswith("my")]
    assert not complaints, complaints
