"""The process: its configuration, and when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import UsageError
from myscheduler.dashboard.__main__ import CLOSED, REFUSED, UNREACHABLE, USAGE, Config, outcome
from myscheduler.dashboard.feed import Feed
from myscheduler.dashboard.model import Model
from myscheduler.scheduler.server.scheduler import SchedulerServer

TOKEN = "a-token-that-is-long-enough"


class Child:
    """A dashboard's process, as its parent sees it."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        lifeline, self.lifeline = os.pipe()
        config_fd, write = os.pipe()
        data = {"listen_fd": self.sock.fileno(), "lifeline_fd": lifeline, "token": TOKEN, **config}
        os.write(write, json.dumps(data).encode())
        os.close(write)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "myscheduler.dashboard", "--config-fd", str(config_fd)],
            pass_fds=(config_fd, lifeline, self.sock.fileno()),
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(config_fd)
        os.close(lifeline)

    def get(self, path: str) -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.read().decode())

    def wait(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors

    def cut_lifeline(self) -> None:
        os.close(self.lifeline)
        self.lifeline = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.sock.close()
        if self.lifeline >= 0:
            self.cut_lifeline()


@contextmanager
def dashboard(scheduler: str, credentials: Credentials | None, **config: Any) -> Iterator[Child]:
    secret = None if credentials is None else credentials.restricted("observer").to_dict()
    child = Child({"scheduler": scheduler, "credentials": secret, "name": "c", **config})
    try:
        yield child
    finally:
        child.close()


@pytest.fixture
async def scheduler() -> Any:
    server = SchedulerServer(Credentials.generate(), port=0)
    await server.start()
    yield server
    await server.close("the test is over")


async def _thread(function: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


async def test_it_serves_and_ends_with_the_scheduler(scheduler: SchedulerServer) -> None:
    with dashboard(scheduler.address, scheduler.credentials) as child:
        assert await _thread(child.get, "/health") == "ok\n"
        overview = json.loads(await _thread(child.get, "/api/v1/overview"))
        assert overview["cluster"] == {
            "name": "c", "address": scheduler.address, "connection": "connected", "connection_text": "",
            "stalled": "",
        }  # fmt: skip
        await scheduler.close("done")
        assert await _thread(child.wait) == (CLOSED, "")


async def test_it_ends_with_its_parent(scheduler: SchedulerServer) -> None:
    with dashboard(scheduler.address, scheduler.credentials) as child:
        await _thread(child.get, "/health")
        child.cut_lifeline()
        assert await _thread(child.wait) == (CLOSED, "")


async def test_interrupts_are_the_parents_and_sigterm_ends_it(scheduler: SchedulerServer) -> None:
    with dashboard(scheduler.address, scheduler.credentials) as child:
        await _thread(child.get, "/health")
        child.process.send_signal(signal.SIGINT)
        assert await _thread(child.get, "/health") == "ok\n"
        child.process.terminate()
        assert await _thread(child.wait) == (CLOSED, "")


async def test_a_scheduler_that_is_not_there_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
    credentials = Credentials.generate()
    config = Config.parse(
        json.dumps({"scheduler": address, "credentials": credentials.to_dict(), "listen_fd": 0, "token": TOKEN})
    )
    feed = Feed(config.scheduler, config.credentials, Model(), reconnect=0.2)
    feeding = asyncio.create_task(feed.run())
    await asyncio.wait([feeding])
    assert outcome(feeding) == UNREACHABLE


async def test_wrong_credentials_end_it_with_a_reason(scheduler: SchedulerServer) -> None:
    with dashboard(scheduler.address, Credentials.generate()) as child:
        code, errors = await _thread(child.wait)
        assert code == REFUSED
        assert "the scheduler refused the dashboard" in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token": "short"}, "the dashboard's token has 5 characters; at least 16 are needed"),
        ({"token": None}, "the dashboard's configuration needs 'token' as str"),
    ],
)
def test_wrong_configurations_are_told(change: dict[str, Any], message: str) -> None:
    with dashboard("tcp://127.0.0.1:1", Credentials.generate(), **change) as child:
        code, errors = child.wait()
        assert code == USAGE
        assert message in errors
        assert "Traceback" not in errors


def test_config_hides_its_secrets() -> None:
    credentials = Credentials.generate()
    text = json.dumps(
        {"scheduler": "tcp://h:1", "credentials": credentials.to_dict(), "listen_fd": 3, "token": TOKEN, "hosts": ["a"]}
    )
    config = Config.parse(text)
    assert (config.scheduler, config.listen_fd, config.hosts, config.lifeline_fd) == ("tcp://h:1", 3, ("a",), None)
    assert TOKEN not in repr(config)
    assert credentials.secrets["observer"].hex() not in repr(config)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"scheduler": 5}', '{"scheduler": "x", "listen_fd": true}'])
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the dashboard's configuration"):
        Config.parse(text)
