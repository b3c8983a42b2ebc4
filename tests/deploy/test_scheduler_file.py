from __future__ import annotations

import threading
from pathlib import Path

import pytest

from myscheduler.base.credentials import Credentials, write_scheduler_file
from myscheduler.base.errors import AuthenticationError, ConnectionFailedError
from myscheduler.deploy.scheduler_file import wait_for_scheduler_file

CREDENTIALS = Credentials.generate()
ADDRESS = "tcp://10.0.0.5:8786"


def test_a_file_is_waited_for_and_then_its_address(tmp_path: Path) -> None:
    path = str(tmp_path / "cluster.json")
    steps = [threading.Timer(0.05, write_scheduler_file, (path, "", CREDENTIALS))]
    steps.append(threading.Timer(0.2, write_scheduler_file, (path, ADDRESS, CREDENTIALS)))
    for step in steps:
        step.start()
    assert wait_for_scheduler_file(path, timeout=10).address == ADDRESS
    for step in steps:
        step.join()


def test_an_address_wins_over_the_one_in_the_file(tmp_path: Path) -> None:
    path = str(write_scheduler_file(tmp_path / "cluster.json", "", CREDENTIALS))
    assert wait_for_scheduler_file(path, "tcp://alpha:8786").address == "tcp://alpha:8786"
    write_scheduler_file(path, ADDRESS, CREDENTIALS)
    assert wait_for_scheduler_file(path, "tcp://alpha:8786").address == "tcp://alpha:8786"


def test_what_does_not_come_is_said(tmp_path: Path) -> None:
    path = str(tmp_path / "cluster.json")
    with pytest.raises(ConnectionFailedError, match="there is no scheduler file"):
        wait_for_scheduler_file(path, timeout=0.01)
    write_scheduler_file(path, "", CREDENTIALS)
    with pytest.raises(ConnectionFailedError, match=r"names no address.*myscheduler --scheduler-file .*cluster\.json"):
        wait_for_scheduler_file(path, timeout=0.01)


def test_a_file_that_cannot_be_trusted_is_not_waited_for(tmp_path: Path) -> None:
    path = write_scheduler_file(tmp_path / "cluster.json", "", CREDENTIALS)
    path.chmod(0o644)
    with pytest.raises(AuthenticationError):
        wait_for_scheduler_file(str(path), timeout=1000)
