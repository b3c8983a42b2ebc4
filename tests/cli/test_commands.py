"""``myscheduler`` and ``myworker`` as users run them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from myscheduler.base.credentials import (
    Credentials,
    SchedulerFile,
    find_cluster,
    read_scheduler_file,
    write_scheduler_file,
)
from myscheduler.base.errors import KilledWorkerError, UsageError
from myscheduler.cli import scheduler as scheduler_command
from myscheduler.cli import worker as worker_command
from myscheduler.client.api.client import Client
from myscheduler.deploy.control import ControlLink
from myscheduler.deploy.sockets import is_loopback, outward_address


def pid_after_half_a_second() -> int:
    time.sleep(0.5)
    return os.getpid()


class Command:
    """One of our commands, running."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"myscheduler.cli.{module}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, pattern: str) -> re.Match[str]:
        """Read output until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} did not appear in:\n{''.join(self.lines)}")

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Signal it, wait for its end; exit code and all output."""
        if number is not None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, "".join(self.lines) + rest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    monkeypatch.setenv("MYSCHEDULER_HOME", str(path))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    monkeypatch.delenv("MYSCHEDULER_CREDENTIALS_FILE", raising=False)
    return path


@pytest.fixture
def start() -> Iterator[Callable[..., Command]]:
    commands: list[Command] = []

    def start(module: str, *arguments: str) -> Command:
        commands.append(Command(module, *arguments))
        return commands[-1]

    yield start
    for command in reversed(commands):
        command.process.kill()
        command.process.communicate()


def until(condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


Start = Callable[..., Command]
ADDRESS = r"Scheduler +(tcp://\S+)"


def test_a_cluster_of_commands_by_address_alone(start: Start, home: Path) -> None:
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("Ctrl-C stops it")
    worker = start("worker", address, "--nworkers", "2", "--nthreads", "1", "--name", "w", "--resources", "GPU=1")
    assert worker.until("2 workers for")
    (published,) = (home / "clusters").iterdir()
    assert stat.S_IMODE(published.stat().st_mode) == 0o600
    with Client(address) as client:
        client.wait_for_workers(2, timeout=30)
        assert client.submit(pow, 2, 10).result(timeout=30) == 1024
        names = sorted(info["name"] for info in client.scheduler_info()["workers"].values())
        assert names == ["w-0", "w-1"]
    assert worker.end(signal.SIGTERM)[0] == 0
    code, output = scheduler.end(signal.SIGINT)
    assert (code, list((home / "clusters").iterdir())) == (0, [])
    assert "Closing: SIGINT received" in output


def test_a_scheduler_that_is_told_to_end_while_it_starts_leaves_nothing_behind(start: Start, home: Path) -> None:
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    scheduler.until("myscheduler [0-9]")  # the first line of several
    code, output = scheduler.end(signal.SIGTERM)
    assert (code, list((home / "clusters").iterdir())) == (0, []), output


def test_a_worker_finds_the_only_scheduler(start: Start) -> None:
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("Ctrl-C")
    worker = start("worker")
    assert worker.until("1 worker for (.*), each")[1] == address


def test_the_scheduler_file_is_all_another_machine_needs(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cluster.json"
    scheduler = start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    scheduler.until("Ctrl-C")
    monkeypatch.setenv("MYSCHEDULER_HOME", str(tmp_path / "elsewhere"))
    start("worker", "--scheduler-file", str(file), "--nthreads", "1")
    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(1, timeout=30)
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    first = read_scheduler_file(file)
    scheduler.end(signal.SIGTERM)
    again = start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    again.until("Ctrl-C")
    assert read_scheduler_file(file).credentials == first.credentials
    assert read_scheduler_file(file).address != first.address


def test_a_worker_waits_for_the_file_and_for_the_scheduler(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    worker = start("worker", "--scheduler-file", str(file), "--nthreads", "1")
    scheduler = start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    scheduler.until("Ctrl-C")
    worker.until("1 worker for")
    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(1, timeout=30)
        assert client.submit(len, "ab").result(timeout=30) == 2


def test_credentials_made_beforehand(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    result = CliRunner().invoke(scheduler_command.main, ["--write-credentials", str(file)])
    assert (result.exit_code, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    assert "MYSCHEDULER_CREDENTIALS_FILE" in result.output
    assert CliRunner().invoke(scheduler_command.main, ["--write-credentials", str(file)]).exit_code == 2
    monkeypatch.setenv("MYSCHEDULER_CREDENTIALS_FILE", str(file))
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("Ctrl-C")
    assert find_cluster(address).credentials == read_scheduler_file(file).credentials
    with Client(address) as client:
        assert client.scheduler_info()["address"] == address


def test_no_secret_in_argv_or_environment_of_any_process(start: Start, home: Path) -> None:
    scheduler = start("scheduler", "--port", "0")
    scheduler.until("Ctrl-C")
    worker = start("worker", "--nthreads", "1")
    worker.until("registered with")
    (published,) = (home / "clusters").iterdir()
    secrets = json.loads(published.read_text())["secrets"].values()
    parents = {scheduler.process.pid, worker.process.pid}
    children = [path for path in Path("/proc").glob("[0-9]*") if _parent(path) in parents]
    assert len(children) == 2  # the worker and the dashboard
    for path in [*children, *(Path(f"/proc/{pid}") for pid in parents)]:
        seen = (path / "cmdline").read_text() + (path / "environ").read_text()
        assert not [secret for secret in secrets if secret in seen]


def _parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_a_taken_port_is_one_line_and_code_4(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output = start("scheduler", "--port", str(port), "--no-dashboard").end()
    assert code == 4
    assert output.count("\n") == 1
    assert output.startswith(f"Error: port {port} on 127.0.0.1 is taken by another process")
    assert f"--port {port + 1}, or --port 0 for any free port" in output


def test_a_taken_dashboard_port_moves_on_and_says_so(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        scheduler = start("scheduler", "--port", "0", "--dashboard-address", f":{port}")
        line = scheduler.until("Dashboard +http://127.0.0.1:")[0]
        assert f"port {port} is taken; the dashboard is on" in scheduler.lines[-1]
        assert "?token=" in scheduler.lines[-1]
    assert line


def test_a_dashboard_for_other_machines_is_refused_without_the_flag() -> None:
    result = CliRunner().invoke(scheduler_command.main, ["--port", "0", "--dashboard-address", "0.0.0.0:0"])
    assert result.exit_code == 2
    assert "if you trust this network, say so with --insecure-dashboard" in result.output
    assert result.output.count("\n") == 1


def test_a_worker_of_a_local_scheduler_is_not_opened_without_the_flag() -> None:
    local = SchedulerFile("tcp://127.0.0.1:8786", Credentials.generate())
    with pytest.raises(UsageError, match=r"would listen on 0\.0\.0\.0.*say so with --insecure-plaintext"):
        worker_command.choose_own_host(local, "0.0.0.0", False)
    assert worker_command.choose_own_host(local, "0.0.0.0", True) == "127.0.0.1"
    assert (
        worker_command.choose_own_host(replace(local, address="tls://127.0.0.1:8786"), "0.0.0.0", False) == "127.0.0.1"
    )


needs_an_address = pytest.mark.skipif(is_loopback(outward_address()), reason="this machine has no address but loopback")


@needs_an_address
def test_a_cluster_that_other_machines_can_reach_is_encrypted(start: Start, tmp_path: Path, home: Path) -> None:
    file = tmp_path / "cluster.json"
    arguments = ["--host", "0.0.0.0", "--contact-host", outward_address(), "--scheduler-file", str(file)]
    scheduler = start("scheduler", "--port", "0", "--dashboard-address", ":0", *arguments)
    address = scheduler.until(r"Scheduler +(tls://\S+)")[1]
    scheduler.until("Encryption +TLS 1.3, certificates good until 2")
    scheduler.until("Ctrl-C")
    port = address.rpartition(":")[2]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    workers = start("worker", "--scheduler-file", str(file), "--nworkers", "2", "--nthreads", "1")
    for _ in range(2):
        workers.until(f"at tls://{outward_address()}:.* registered with {address}")
    with Client(scheduler_file=file) as client:
        values = client.map(bytes, [2_000_000, 2_000_001])
        total = client.submit(lambda *parts: sum(map(len, parts)), *values)
        assert total.result(timeout=30) == 4_000_001
        assert [len(value) for value in client.gather(values)] == [2_000_000, 2_000_001]
    for spelling in (f"127.0.0.1:{port}", f"tcp://{outward_address()}:{port}", address):
        with Client(spelling) as client:
            assert client.submit(len, "abc").result(timeout=30) == 3
    # What tasks and other users can see of the processes holds no secret.
    certificates = read_scheduler_file(file).credentials.certificates
    assert certificates is not None
    secrets = [leaf.key.splitlines()[1] for leaf in certificates.leaves.values()]
    for command in (scheduler, workers):
        for process in (
            psutil.Process(command.process.pid),
            *psutil.Process(command.process.pid).children(recursive=True),
        ):
            shown = f"{process.cmdline()} {process.environ()}"
            assert not any(secret in shown for secret in secrets)
    assert not any("WARNING" in line for line in (*scheduler.lines, *workers.lines))


@needs_an_address
def test_certificates_are_renewed_when_half_of_their_time_is_over(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    CliRunner().invoke(scheduler_command.main, ["--write-credentials", str(file)])
    first = read_scheduler_file(file).credentials
    arguments = ["--port", "0", "--host", outward_address(), "--no-dashboard", "--scheduler-file", str(file)]
    for lifetime, kept in (("13 days", True), ("15 days", False)):
        scheduler = start("scheduler", *arguments, "--certificate-lifetime", lifetime)
        scheduler.until("Ctrl-C")
        now = read_scheduler_file(file).credentials
        assert (now.certificates == first.certificates) is kept
        assert now.secrets == first.secrets
        scheduler.end(signal.SIGTERM)


@needs_an_address
def test_prepared_credentials_are_not_renewed_behind_the_back_of_others(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    write_scheduler_file(file, "", Credentials.generate().certified(-1.0))
    monkeypatch.setenv("MYSCHEDULER_CREDENTIALS_FILE", str(file))
    code, output = start("scheduler", "--port", "0", "--host", outward_address(), "--no-dashboard").end()
    assert code == 5
    assert "or an expired one, and tls:// needs it: remove the file, make a new one with `myscheduler --write" in output


@needs_an_address
def test_certificates_that_will_expire_are_warned_about(start: Start) -> None:
    arguments = ["--port", "0", "--host", outward_address(), "--no-dashboard", "--certificate-lifetime", "1 hour"]
    warning = start("scheduler", *arguments).until("WARNING .* the certificates of this cluster expire at (.*?): .*")
    assert warning[1].startswith("20")
    assert ": start `myscheduler` again with its scheduler file" in warning[0]


def test_a_lifetime_is_a_time_above_0(tmp_path: Path) -> None:
    arguments = ["--write-credentials", str(tmp_path / "file"), "--certificate-lifetime", "0"]
    result = CliRunner().invoke(scheduler_command.main, arguments)
    assert (result.exit_code, "give a time above 0" in result.output) == (2, True)


def test_other_machines_are_warned_about_at_each_start(start: Start) -> None:
    arguments = ["--host", "0.0.0.0", "--insecure-plaintext", "--contact-host", "127.0.0.1", "--no-dashboard"]
    scheduler = start("scheduler", "--port", "0", *arguments)
    scheduler.until("WARNING: the scheduler can be reached from other machines")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("copy the credentials file there")
    scheduler.until("Ctrl-C")
    worker = start("worker", address, "--nthreads", "1")
    worker.until("registered with")
    with Client(address) as client:
        assert client.submit(len, "abc").result(timeout=30) == 3


def test_a_worker_without_scheduler_gives_up(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    scheduler = start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    scheduler.until("Ctrl-C")
    scheduler.end(signal.SIGTERM)
    code, output = start("worker", "--scheduler-file", str(file), "--death-timeout", "0.3 s").end()
    assert code == 3
    assert "cannot reach tcp://127.0.0.1:" in output


def test_a_worker_with_other_credentials_is_refused(start: Start, tmp_path: Path) -> None:
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("Ctrl-C")
    file = tmp_path / "other"
    CliRunner().invoke(scheduler_command.main, ["--write-credentials", str(file)])
    code, output = start("worker", address, "--scheduler-file", str(file), "--nthreads", "1").end()
    assert code == 5
    assert "the scheduler refused it" in output


def test_a_restarted_scheduler_gets_its_workers_back(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    arguments = ["--port", port, "--no-dashboard", "--scheduler-file", str(file)]
    scheduler = start("scheduler", *arguments)
    scheduler.until("Ctrl-C")
    worker = start("worker", "--scheduler-file", str(file), "--nthreads", "1")
    worker.until("registered with")
    scheduler.end(signal.SIGKILL)
    start("scheduler", *arguments).until("Ctrl-C")
    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(1, timeout=30)
        assert client.submit(len, "abcd").result(timeout=30) == 4


def test_a_worker_that_is_told_to_end_finishes_and_hands_its_results_over(start: Start) -> None:
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("Ctrl-C")
    leaving = start("worker", address, "--nthreads", "1", "--name", "leaving")
    leaving.until("registered with")
    with Client(address) as client:
        done = client.submit(os.urandom, 200_000)
        value = done.result(timeout=30)
        running = client.submit(pid_after_half_a_second)
        until(lambda: any(client.processing().values()))
        start("worker", address, "--nthreads", "1", "--name", "staying").until("registered with")
        code, output = leaving.end(signal.SIGTERM)
        assert code == 0, output
        assert list(client.nthreads().values()) == [1]
        assert done.result(timeout=30) == value, "it was computed again"
        assert running.result(timeout=30) > 0
        assert "not handed over" not in output


def test_a_worker_that_is_told_to_end_does_not_wait_for_a_scheduler_that_is_gone(start: Start) -> None:
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("Ctrl-C")
    worker = start("worker", address, "--nthreads", "1")
    worker.until("registered with")
    scheduler.end(signal.SIGKILL)
    began = time.monotonic()
    assert worker.end(signal.SIGTERM)[0] == 0
    assert time.monotonic() - began < worker_command.HANDOVER_S


def test_shutdown_by_a_client_ends_both_with_0(start: Start) -> None:
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    scheduler.until("Ctrl-C")
    worker = start("worker", "--nthreads", "1")
    worker.until("registered with")
    with Client(find_cluster().address) as client:
        client.shutdown()
    assert worker.end()[0] == 0
    assert scheduler.end()[0] == 0


def test_an_idle_scheduler_closes(start: Start) -> None:
    began = time.monotonic()
    code, output = start("scheduler", "--port", "0", "--no-dashboard", "--idle-timeout", "200 ms").end()
    assert code == 0
    assert "Closing: idle for 0.2 s" in output
    assert time.monotonic() - began < 20


def test_preload_and_pid_file(start: Start, tmp_path: Path) -> None:
    preload = tmp_path / "shout.py"
    preload.write_text(
        "import sys\n"
        # In one piece: what goes to stderr may come between the pieces that print makes.
        "def setup(server): sys.stdout.write(f'setup of {type(server).__name__}\\n')\n"
        "def teardown(server): sys.stdout.write(f'teardown of {type(server).__name__}\\n')\n"
    )
    pid = tmp_path / "pid"
    arguments = ["--port", "0", "--no-dashboard", "--preload", str(preload), "--pid-file", str(pid)]
    scheduler = start("scheduler", *arguments)
    scheduler.until("setup of SchedulerServer")
    scheduler.until("Ctrl-C")
    assert int(pid.read_text()) == scheduler.process.pid
    worker = start("worker", "--nthreads", "1", "--preload", str(preload))
    worker.until("setup of Worker")
    assert "teardown of Worker" in worker.end(signal.SIGTERM)[1]
    assert "teardown of SchedulerServer" in scheduler.end(signal.SIGTERM)[1]
    assert not pid.exists()


def test_a_killed_parent_takes_its_workers_along(start: Start) -> None:
    """Within two seconds, although a task holds the interpreter lock in C."""
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("Ctrl-C")
    worker = start("worker", "--nthreads", "1")
    worker.until("registered with")
    with Client(address) as client:
        pid = client.submit(os.getpid).result(timeout=30)
        future = client.submit(re.match, "(a+)+$", "a" * 64 + "b")
        process = psutil.Process(pid)
        used = process.cpu_times().user
        until(lambda: process.cpu_times().user > used + 0.3)
        os.kill(worker.process.pid, signal.SIGKILL)
        until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, timeout=2.0)
        until(lambda: not client.scheduler_info()["workers"])
        assert client.nthreads() == {}
        assert not future.done()


def deaths(address: str, key: object) -> int:
    """How many deaths the scheduler holds against a task."""

    async def ask() -> int:
        link = await ControlLink.open(address, find_cluster(address).credentials)
        try:
            return int((await link.call("task", key))["deaths"])
        finally:
            link.close("asked")
            async with asyncio.timeout(10):
                while not link.closed:
                    await asyncio.sleep(0.001)

    return asyncio.run(ask())


def test_a_planned_stop_is_held_against_no_task(start: Start) -> None:
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("Ctrl-C")
    worker = start("worker", "--nthreads", "1")
    worker.until("registered with")
    with Client(address) as client:
        future = client.submit(time.sleep, 3600)
        until(lambda: any(info["metrics"].get("executing") for info in client.scheduler_info()["workers"].values()))
        assert worker.end(signal.SIGINT)[0] == 0
        until(lambda: not client.scheduler_info()["workers"])
        assert deaths(address, future.key) == 0


def test_a_worker_that_is_killed_is_replaced_and_the_error_tells_how_it_died(start: Start) -> None:
    scheduler = start("scheduler", "--port", "0", "--no-dashboard")
    address = scheduler.until(ADDRESS)[1]
    scheduler.until("Ctrl-C")
    worker = start("worker", "--nthreads", "1", "--name", "bob")
    worker.until("registered with")
    with Client(address) as client, pytest.raises(KilledWorkerError) as caught:
        client.submit(os._exit, 0).result(timeout=60)
    text = str(caught.value)
    assert len(re.findall(r"on worker bob \(tcp://.*\): exited with code 0 after", text)) == 3
    assert "What to try: Something ended the process, as os._exit does" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--nworkers", "0"], "--nworkers '0': give a number above 0, or auto"),
        (["--death-timeout", "0"], "--death-timeout '0': give a time above 0"),
        (["--resources", "GPU"], "resource 'GPU': write NAME=AMOUNT"),
        (["--memory-limit", "much"], "'much' is not a size"),
    ],
)
def test_worker_options_that_make_no_sense(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(worker_command.main, arguments)
    assert (result.exit_code, text in result.output) == (2, True), result.output


def test_a_worker_without_any_scheduler_says_what_to_do() -> None:
    result = CliRunner().invoke(worker_command.main, [])
    assert result.exit_code == 3
    assert "start one with `myscheduler`" in result.output


@pytest.mark.parametrize("command", [scheduler_command.main, worker_command.main])
def test_help_teaches(command: object) -> None:
    result = CliRunner().invoke(command, ["--help"])  # type: ignore[arg-type]
    assert result.exit_code == 0
    assert "\nExamples:\n" in result.output.replace("  ", "")
    assert "Exit codes:" in result.output
    assert "--insecure-plaintext" in result.output
