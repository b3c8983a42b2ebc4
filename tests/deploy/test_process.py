"""Child processes: their configuration, their ties to us, their end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.deploy.process import ChildProcess, describe_exit, refuse_inside_spawned_import

#: What every child of ours does first: read the configuration from the inherited descriptor.
READ_CONFIG = """
import json, os, sys
assert sys.argv[1] == "--config-fd"
with open(int(sys.argv[2])) as file:
    config = json.load(file)
"""

Spawn = Callable[..., ChildProcess]


@pytest.fixture
def spawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spawn:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def start(body: str, config: dict[str, object] | None = None, **options: object) -> ChildProcess:
        (tmp_path / "some_child.py").write_text(READ_CONFIG + body)
        return ChildProcess("some_child", config or {}, name="child", **options)  # type: ignore[arg-type]

    return start


def until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether the process exists and is no zombie that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def test_the_configuration_arrives_but_not_in_argv_or_environment(spawn: Spawn, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = spawn(
        """
seen = [open("/proc/self/cmdline").read(), open("/proc/self/environ").read()]
open(config["out"], "w").write(json.dumps([config["secret"], seen]))
""",
        {"secret": "abracadabra", "out": str(out)},
    )
    assert await child.wait() == 0
    secret, seen = json.loads(out.read_text())
    assert secret == "abracadabra"
    assert not any("abracadabra" in text for text in seen)


async def test_inherits_the_named_sockets_and_the_lifeline_only(spawn: Spawn, tmp_path: Path) -> None:
    body = """
import socket, stat
sock = socket.socket(fileno=config["listen_fd"])
connection, _ = sock.accept()
known = (0, 1, 2, sock.fileno(), connection.fileno(), config["lifeline_fd"])
held = [n for n in map(int, os.listdir("/proc/self/fd")) if n not in known and os.path.exists(f"/proc/self/fd/{n}")]
connection.sendall(json.dumps([held, stat.S_ISFIFO(os.fstat(config["lifeline_fd"]).st_mode)]).encode())
"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = spawn(body, sockets={"listen_fd": listener})
        with socket.create_connection(listener.getsockname()) as connection:
            held, lifeline = json.loads(connection.recv(4096))
    assert await child.wait() == 0
    assert held == []
    assert lifeline is True


async def test_the_lifeline_ends_with_us_however_we_end(spawn: Spawn, tmp_path: Path) -> None:
    """A parent is killed with SIGKILL; its child sees the end of the lifeline though a fork of the parent lives on."""
    (tmp_path / "some_child.py").write_text(
        READ_CONFIG + "print(os.getpid(), flush=True)\nos.read(config['lifeline_fd'], 1)\n"
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, time\n"
            "from myscheduler.deploy.process import ChildProcess\n"
            "child = ChildProcess('some_child', {}, name='child')\n"
            "fork = os.fork()\n"
            "if fork: print(fork, flush=True)\n"
            "time.sleep(60)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        pids = {int(parent.stdout.readline()), int(parent.stdout.readline())}
    parent.kill()
    parent.wait()
    until(lambda: len([pid for pid in pids if runs(pid)]) == 1)
    (fork,) = [pid for pid in pids if runs(pid)]
    os.kill(fork, signal.SIGKILL)


async def test_stop_asks_first(spawn: Spawn) -> None:
    child = spawn(
        """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("ready", flush=True)
signal.sigwait({signal.SIGTERM})
""",
        capture=True,
    )
    await _until(lambda: child.output)
    assert await child.stop(grace=10) == 0


async def test_stop_kills_what_does_not_listen_and_what_it_started(spawn: Spawn) -> None:
    child = spawn(
        """
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
time.sleep(60)
""",
        capture=True,
    )
    await _until(lambda: child.output.endswith("\n"))
    assert await child.stop(grace=0.05) == -signal.SIGKILL
    until(lambda: not runs(int(child.output)))


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_captured_output_keeps_the_end(spawn: Spawn) -> None:
    child = spawn("for n in range(100_000): print(n)\nsys.stderr.write('the reason')\nsys.exit(7)", capture=True)
    assert await child.wait() == 7
    assert child.output.endswith("the reason")
    assert len(child.output) < 64 * 1024
    assert repr(child) == f"<ChildProcess child: pid {child.pid}, exited with code 7>"


@pytest.mark.parametrize(
    ("told", "ready", "cut_short"), [("", False, False), ("0", False, False), ("1", True, True), ("10", True, False)]
)
async def test_it_is_known_whether_a_child_was_at_work_and_ended_by_itself(
    spawn: Spawn, told: str, ready: bool, cut_short: bool
) -> None:
    child = spawn(f"os.write(config['ready_fd'], b'{told}')", tells_ready=True)
    await child.wait()
    assert (child.was_ready, child.was_cut_short) == (ready, cut_short)


async def test_what_an_echoing_child_says_is_passed_on_and_kept(
    spawn: Spawn, capfd: pytest.CaptureFixture[str]
) -> None:
    child = spawn("print('to stdout', flush=True)\nos.write(2, b'from C\\n')\nsys.exit('the reason')", echo=True)
    assert await child.wait() == 1
    assert await child.last_output() == "from C\nthe reason\n"
    assert capfd.readouterr() == ("to stdout\n", "from C\nthe reason\n")


async def test_yields_if_asked_to(spawn: Spawn) -> None:
    child = spawn("os.read(config['lifeline_fd'], 1)", niceness=5)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5
    child.kill()
    assert await child.wait() == -signal.SIGKILL


def test_leads_its_own_process_group_so_that_ctrl_c_is_ours(spawn: Spawn) -> None:
    child = spawn("os.read(config['lifeline_fd'], 1)")
    assert os.getpgid(child.pid) == child.pid
    child.stop_now()
    assert child.returncode == -signal.SIGTERM


def test_descriptors_do_not_leak(spawn: Spawn) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        spawn("").stop_now()
        spawn("", echo=True, tells_ready=True).stop_now()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "stderr of child"])
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exited with code 0"), (-15, "was killed by SIGTERM"), (-99, "was killed by signal 99")]
)
def test_describe_exit(code: int, text: str) -> None:
    assert describe_exit(code) == text


class TestSpawnedImport:
    def test_silent_elsewhere(self) -> None:
        import multiprocessing.process  # noqa: F401

        assert refuse_inside_spawned_import("LocalCluster()") is None  # type: ignore[func-returns-value]

    def test_an_unguarded_script_imported_by_multiprocessing_is_told_so(self, tmp_path: Path) -> None:
        script = tmp_path / "unguarded.py"
        script.write_text(
            """
import multiprocessing
from myscheduler.deploy.process import refuse_inside_spawned_import
refuse_inside_spawned_import("LocalCluster()")
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()
    raise SystemExit(process.exitcode)
"""
        )
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert done.stderr.strip().splitlines()[-1] == (
            "myscheduler.base.errors.UsageError: LocalCluster() was called while multiprocessing imports your script "
            'again in a child process; put the code that starts things under `if __name__ == "__main__":`'
        )
        assert issubclass(UsageError, Exception)
