"""``python -m myscheduler.worker.server`` as a real process: how it starts, ends, and never outlives its parent."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from myscheduler.base.credentials import Credentials
from myscheduler.protocol import messages as m
from tests.worker.fake_scheduler import TIMEOUT_S, FakeScheduler

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes the Linux way")

COMMAND = [sys.executable, "-P", "-m", "myscheduler.worker.server"]

#: A parent that starts what its standard input says and then waits to be killed.
PARENT = """
import json, os, subprocess, sys
request = json.load(sys.stdin)
lifeline, keep = os.pipe()
config, write = os.pipe()
with open(write, "w") as file:
    json.dump({**request["config"], "lifeline_fd": lifeline}, file)
child = subprocess.Popen([*request["command"], "--config-fd", str(config)], pass_fds=(lifeline, config))
os.close(lifeline)
child.wait()
"""


@pytest.fixture
async def scheduler() -> AsyncIterator[FakeScheduler]:
    async with FakeScheduler("tcp://127.0.0.1:0", Credentials.generate()) as made:
        yield made


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def configuration(scheduler: FakeScheduler, **options: Any) -> dict[str, Any]:
    assert scheduler.credentials is not None
    return {
        "scheduler": scheduler.address,
        "host": None,
        "credentials": scheduler.credentials.to_dict(),
        "options": {"nthreads": 1, "memory_limit": None, **options},
        "sys_path": sys.path,
        "log_level": "ERROR",
    }


def start(processes: ExitStack, command: list[str], text: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    processes.callback(end, process)
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.close()
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


async def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was written to stderr."""
    code = await asyncio.to_thread(process.wait, TIMEOUT_S)
    assert process.stderr is not None
    return code, process.stderr.read()


async def registered(scheduler: FakeScheduler, count: int = 1) -> str:
    """The incarnation of the worker that registered last."""
    await scheduler.until(lambda: len(scheduler.hellos) == count)
    return list(scheduler.hellos)[-1]


async def test_it_registers_runs_and_closes_on_sigterm(scheduler: FakeScheduler, processes: ExitStack) -> None:
    process = start(processes, COMMAND, json.dumps(configuration(scheduler, name="alice")))
    worker = await registered(scheduler)
    assert scheduler.hellos[worker]["name"] == "alice"
    scheduler.compute(worker, "x", os.getpid)
    assert await scheduler.result("x") == process.pid
    process.terminate()
    assert await ended(process) == (0, "")
    assert ("SIGTERM",) in [message[1:] for _, message in scheduler.received if message[0] == m.GOODBYE]


async def test_a_restart_is_a_new_life_in_the_same_process(scheduler: FakeScheduler, processes: ExitStack) -> None:
    process = start(processes, COMMAND, json.dumps(configuration(scheduler)))
    first = await registered(scheduler)
    scheduler.send(first, (m.STOP, "restart", "asked"))
    second = await registered(scheduler, 2)
    scheduler.compute(second, "x", os.getpid)
    assert await scheduler.result("x") == process.pid
    scheduler.send(second, (m.STOP, "close", "enough"))
    assert await ended(process) == (0, "")


async def test_a_lost_scheduler_ends_it_with_code_6(scheduler: FakeScheduler, processes: ExitStack) -> None:
    process = start(processes, COMMAND, json.dumps(configuration(scheduler, lease="0.1 s")))
    worker = await registered(scheduler)
    scheduler.refuse_connections()
    scheduler.links[worker].close("gone")
    code, text = await ended(process)
    assert code == 6
    assert "was lost and not found again within 0.1 s" in text


async def test_an_absent_scheduler_ends_it_with_code_3(processes: ExitStack, unused_tcp_port: int) -> None:
    config = {
        "scheduler": f"tcp://127.0.0.1:{unused_tcp_port}",
        "credentials": Credentials.generate().to_dict(),
        "options": {"nthreads": 1, "death_timeout": 0.1},
    }
    code, text = await ended(start(processes, COMMAND, json.dumps(config)))
    assert code == 3
    assert str(unused_tcp_port) in text
    assert "Traceback" not in text


async def test_a_refusal_ends_it_with_code_5(scheduler: FakeScheduler, processes: ExitStack) -> None:
    scheduler.refusal = ("version", "this worker runs python 3.9, the scheduler python 3.11")
    code, text = await ended(start(processes, COMMAND, json.dumps(configuration(scheduler))))
    assert code == 5
    assert "this worker runs python 3.9, the scheduler python 3.11" in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "not a JSON object"),
        ("{}", "scheduler"),
        ('{"scheduler": "tcp://h", "options": {"nthreads": 0}}', "thread"),
    ],
)
async def test_a_wrong_configuration_ends_it_with_code_2(processes: ExitStack, text: str, complaint: str) -> None:
    code, written = await ended(start(processes, COMMAND, text))
    assert code == 2
    assert complaint in written


async def test_a_running_task_does_not_delay_the_end(scheduler: FakeScheduler, processes: ExitStack) -> None:
    process = start(processes, COMMAND, json.dumps(configuration(scheduler)))
    worker = await registered(scheduler)
    scheduler.compute(worker, "x", select.select, [], [], [], 3600)
    await scheduler.until(lambda: any(message[0] == m.HEARTBEAT for _, message in scheduler.received))
    process.terminate()
    assert (await ended(process))[0] == 0


@pytest.mark.parametrize("holds_gil", [False, True])
async def test_it_dies_with_its_parent(scheduler: FakeScheduler, processes: ExitStack, holds_gil: bool) -> None:
    """Even if a task holds the interpreter lock in C, so that no Python code can run."""
    request = json.dumps({"config": configuration(scheduler), "command": COMMAND})
    parent = start(processes, [sys.executable, "-c", PARENT], request)
    worker = await registered(scheduler)
    pid = scheduler.hellos[worker]["pid"]
    descriptor = os.pidfd_open(pid)
    processes.callback(os.close, descriptor)
    processes.callback(_kill, descriptor)
    if holds_gil:
        await scheduler.until(lambda: any(message[0] == m.HEARTBEAT for _, message in scheduler.received))
        scheduler.compute(worker, "x", re.match, "(a+)+$", "a" * 64 + "b")
        await asyncio.to_thread(_wait_until_busy, pid)
    parent.kill()
    readable, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], 2.0)
    assert readable, "the worker outlived its parent"


def _kill(descriptor: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def _wait_until_busy(pid: int) -> None:
    """Until the process has used half a second of processor time since now."""
    until = _cpu_ticks(pid) + os.sysconf("SC_CLK_TCK") // 2
    while _cpu_ticks(pid) < until:
        select.select([], [], [], 0.02)


def _cpu_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
