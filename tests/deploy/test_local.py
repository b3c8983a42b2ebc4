"""``LocalCluster`` with real processes."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from myscheduler.base import config
from myscheduler.base.errors import ClosedError, ClusterError, UsageError
from myscheduler.client.api.client import Client
from myscheduler.client.api.loop import LoopThread
from myscheduler.deploy import LocalCluster
from myscheduler.deploy.processes import ProcessBackend
from myscheduler.deploy.sizing import Sizing
from myscheduler.deploy.sockets import is_loopback, outward_address

Until = Callable[..., None]
Runs = Callable[[int | None], bool]


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


def pids(cluster: LocalCluster) -> list[int]:
    """Of the scheduler and all workers."""
    backend = cluster._backend
    assert isinstance(backend, ProcessBackend)
    assert backend._scheduler is not None
    return [backend._scheduler.pid, *(keeper.pid for keeper in cluster.workers.values())]


def script(tmp_path: Path, text: str) -> subprocess.Popen[str]:
    path = tmp_path / "script.py"
    path.write_text(text)
    return subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# ---- processes ------------------------------------------------------------------------------------------------------


def test_runs_tasks_and_leaves_nothing(runs: Runs) -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert cluster.status == "running"
        assert len(cluster.scheduler_info["workers"]) == 2
        processes = pids(cluster)
        with cluster.get_client() as client:
            assert client.submit(pow, 2, 10).result(timeout=30) == 1024
            task_pids = set(client.gather(client.map(lambda _: os.getpid(), range(20))))
        assert task_pids <= set(processes[1:])
        port = urlsplit(cluster.scheduler_address).port
    assert cluster.status == "closed"
    assert not any(runs(pid) for pid in processes)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port or 0)).close()
    cluster.close()  # once more is no error
    with pytest.raises(ClosedError):
        cluster.scale(1)


def test_workers_have_defaults_for_variables_that_are_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLIBC_TUNABLES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        cluster.get_client() as client,
    ):
        found = client.submit(lambda: dict(os.environ)).result(timeout=30)
    expected = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "3"}
    assert {name: found.get(name) for name in expected} == expected


def test_secrets_are_neither_in_argv_nor_in_the_environment_nor_shown(cluster: LocalCluster) -> None:
    assert cluster.credentials is not None
    secrets = [secret.hex() for secret in cluster.credentials.secrets.values()]
    shown = [repr(cluster), cluster._repr_html_(), repr(cluster.credentials), repr(cluster.workers)]
    for pid in pids(cluster):
        shown += [Path(f"/proc/{pid}/cmdline").read_text(), Path(f"/proc/{pid}/environ").read_text()]
    assert not [text for text in shown for secret in secrets if secret in text]
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(cluster.credentials)


def test_a_dead_worker_is_replaced(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture, until: Until, runs: Runs
) -> None:
    (victim, other) = (keeper.pid for keeper in cluster.workers.values())
    os.kill(victim, signal.SIGKILL)
    until(lambda: len({*(keeper.pid for keeper in cluster.workers.values())} - {victim, other, None}) == 1)
    cluster.wait_for_workers(2, timeout=30)
    with cluster.get_client() as client:
        until(lambda: victim not in [worker["pid"] for worker in cluster.scheduler_info["workers"]])
        assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    (line,) = [record.getMessage() for record in caplog.records if record.name == "myscheduler.deploy.keeper"]
    assert line.startswith(f"worker 0 (pid {victim}) was killed by SIGKILL")
    assert line.endswith("another one starts now")


def test_scale(cluster: LocalCluster, runs: Runs) -> None:
    first, second = (keeper.pid for keeper in cluster.workers.values())
    cluster.scale(3)
    cluster.wait_for_workers(3, timeout=30)
    with cluster.get_client() as client:
        futures = client.map(lambda number: number + 1, range(30))
        assert client.gather(futures) == list(range(1, 31))
        cluster.scale(1)
        assert [keeper.pid for keeper in cluster.workers.values()] == [first]
        assert not runs(second)
        assert len(cluster.scheduler_info["workers"]) == 1
        assert client.gather(futures) == list(range(1, 31))  # the retired handed over what they had
    with pytest.raises(UsageError, match="n=-1: it must be a whole number, at least 0"):
        cluster.scale(-1)
    with pytest.raises(TimeoutError, match="did not have 9 workers after 0.01 s"):
        cluster.wait_for_workers(9, timeout="10 ms")


def test_the_end_of_the_scheduler_is_the_end_of_the_cluster(
    cluster: LocalCluster, caplog: pytest.LogCaptureFixture, until: Until, runs: Runs
) -> None:
    processes = pids(cluster)
    os.kill(processes[0], signal.SIGKILL)
    until(lambda: not any(runs(pid) for pid in processes))
    assert any("the scheduler (pid" in record.getMessage() for record in caplog.records)


def test_a_worker_that_cannot_start_is_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("myscheduler.deploy.processes.WORKER_MODULE", "no_such_module")
    with pytest.raises(ClusterError, match=r"cannot start: worker [01] exited with code 1, 3 times in a row"):
        LocalCluster(n_workers=2, dashboard_address=None)


def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path, until: Until, runs: Runs) -> None:
    process = script(
        tmp_path,
        """
import json, time
from myscheduler.deploy import LocalCluster
cluster = LocalCluster(n_workers=2, dashboard_address=":0")
backend = cluster._backend
client = cluster.get_client()
futures = client.map(lambda _: time.sleep(600), range(2))
info = lambda: [worker["metrics"].get("executing") for worker in cluster.scheduler_info["workers"]]
pids = [backend._scheduler.pid, backend._dashboard.pid, *(keeper.pid for keeper in cluster.workers.values())]
print(json.dumps(pids), flush=True)
time.sleep(600)
""",
    )
    with process:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        assert len(found) == 4
        assert all(runs(pid) for pid in found)
        process.kill()
    until(lambda: not any(runs(pid) for pid in found))


def test_a_script_needs_no_guard_and_its_own_functions_travel(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("def triple(x): return 3 * x\n")
    process = script(
        tmp_path,
        """
from myscheduler.deploy import LocalCluster
import neighbour

class Thing:
    def __init__(self, value): self.value = value

def double(x): return Thing(2 * x)

print("imported", __name__)
cluster = LocalCluster(n_workers=1, dashboard_address=None)
client = cluster.get_client()
print(client.submit(double, 21).result().value)
print(client.submit(neighbour.triple, 21).result())
""",
    )
    out, err = process.communicate(timeout=50)
    assert (process.returncode, out.split()) == (0, ["imported", "__main__", "42", "63"]), err


def test_an_unguarded_script_that_spawns_is_told_what_to_do(tmp_path: Path) -> None:
    process = script(
        tmp_path,
        """
import multiprocessing
from myscheduler.deploy import LocalCluster
cluster = LocalCluster(n_workers=0, dashboard_address=None)
child = multiprocessing.get_context("spawn").Process(target=print)
child.start()
child.join()
raise SystemExit(child.exitcode)
""",
    )
    _, err = process.communicate(timeout=50)
    assert process.returncode == 1
    assert err.strip().splitlines()[-1].endswith('put the code that starts things under `if __name__ == "__main__":`')
    assert "LocalCluster() was called while multiprocessing imports your script again" in err


def test_a_fork_of_the_program_does_not_close_the_cluster(cluster: LocalCluster, runs: Runs) -> None:
    process = os.fork()
    if process == 0:
        code = 1
        try:
            cluster.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert all(runs(pid) for pid in pids(cluster))


async def test_asynchronous(runs: Runs) -> None:
    async with LocalCluster(n_workers=1, dashboard_address=None, asynchronous=True) as cluster:
        await cluster.scale(2)
        await cluster.wait_for_workers(2, timeout=30)
        processes = pids(cluster)
        assert len((await cluster.scheduler_info)["workers"]) == 2
        async with cluster.get_client() as client:
            assert await client.submit(pow, 3, 3) == 27
        with pytest.raises(UsageError, match="is used with `async with`"), cluster:
            pass
    assert not any(runs(pid) for pid in processes)


async def test_awaiting_starts_it() -> None:
    cluster = await LocalCluster(n_workers=0, dashboard_address=None, asynchronous=True)
    assert cluster.status == "running"
    await cluster.close()


# ---- inside this process --------------------------------------------------------------------------------------------


def test_threads_share_this_process_and_listen_nowhere() -> None:
    def listening() -> set[str]:
        inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line}
        return {link for link in _links() if any(f"[{inode}]" in link for inode in inodes)}

    before = listening()
    with LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster:
        assert cluster.scheduler_address.startswith("inproc://")
        assert cluster.credentials is None
        assert listening() == before
        with cluster.get_client() as client:
            assert client.submit(os.getpid).result(timeout=30) == os.getpid()
            cluster.scale(3)
            assert list(cluster.workers) == ["0", "1", "2"]
            cluster.scale(1)
            assert list(cluster.workers) == ["0"]
            client.restart()
            assert client.submit(pow, 2, 3).result(timeout=30) == 8
    assert cluster.workers == {}


def _links() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return found


# ---- the dashboard --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [True, False])
def test_the_dashboard_serves_its_link_and_refuses_others(processes: bool, runs: Runs) -> None:
    cluster = LocalCluster(n_workers=1, processes=processes, dashboard_address=":0")
    with cluster:
        link = cluster.dashboard_link
        assert link is not None
        assert link.startswith("http://127.0.0.1:")
        health = f"{link.partition('/?')[0]}/health"
        with urllib.request.urlopen(health, timeout=30) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{link.partition('?')[0]}status", timeout=30)
        assert caught.value.code in (401, 403)
        caught.value.close()
        pid = cluster._backend._dashboard.pid  # type: ignore[attr-defined]
        assert runs(pid)
    assert not runs(pid)


def test_html_shows_the_link_but_not_the_token_as_text() -> None:
    with LocalCluster(n_workers=0, dashboard_address=":0", name="<b>bold</b>") as cluster:
        assert cluster.dashboard_link is not None
        token = cluster.dashboard_link.partition("token=")[2]
        html = cluster._repr_html_()
        assert html.count(token) == 1
        assert f'token={token}" target=' in html
        assert "<b>bold</b>" not in html
        assert "token" not in repr(cluster)


# ---- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"dashboard_address": "10.0.0.1:8787"},
            "speaks plain HTTP, and '10.0.0.1' can be reached from other machines",
        ),
        ({"dashboard_address": ":http"}, "is no port"),
        ({"n_workers": -1}, "n_workers=-1"),
        ({"memory_limit": "2 bananas"}, "2 bananas"),
        ({"silence_logs": "loud"}, "silence_logs='loud' is no level of logging"),
        ({"scheduler_port": 99999}, "99999 is no port"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        LocalCluster(**{"n_workers": 0, "dashboard_address": None, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["0.0.0.0", outward_address()])
def test_a_host_that_others_can_reach_is_encrypted(host: str, tmp_path: Path) -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, host=host, dashboard_address=":0") as cluster:
        scheme = "tcp" if is_loopback(host) else "tls"
        assert cluster.scheduler_address.startswith(f"{scheme}://{outward_address()}:")
        addresses = [worker["address"] for worker in cluster.scheduler_info["workers"]]
        assert [address.partition(":")[0] for address in addresses] == [scheme, scheme]
        with Client(cluster) as client:
            client.write_scheduler_file(tmp_path / "cluster.json")
            values = client.map(bytes, [3_000_000, 3_000_001])
            assert client.submit(lambda *parts: [len(part) for part in parts], *values).result(30) == [
                3_000_000,
                3_000_001,
            ]
        with Client(scheduler_file=tmp_path / "cluster.json") as client:
            assert client.submit(len, "abc").result(30) == 3


def test_workers_get_what_was_asked_for(tmp_path: Path) -> None:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=3,
        memory_limit="1 GiB",
        resources={"GPU": 2},
        local_directory=tmp_path,
        dashboard_address=None,
        name="mine",
    ) as cluster:
        (worker,) = cluster.scheduler_info["workers"]
        assert (worker["name"], worker["nthreads"], worker["memory_limit"]) == ("0", 3, 2**30)
        assert dict(worker["resources"]) == {"GPU": 2.0}
        assert repr(cluster) == (
            f"LocalCluster(name=mine, status=running, scheduler={cluster.scheduler_address}, "
            "workers=1, threads=3, memory=1.00 GiB)"
        )


def test_a_client_of_its_own_thread_may_not_block() -> None:
    async def start() -> None:
        LocalCluster(n_workers=0, dashboard_address=None)

    with pytest.raises(UsageError, match="event loop's own thread"):
        LoopThread.shared().run(start())


def test_client_accepts_a_cluster(cluster: LocalCluster) -> None:
    with Client(cluster) as client:
        assert client.submit(len, "abc").result(timeout=30) == 3
    assert asyncio.iscoroutinefunction(cluster._backend.close)
    assert cluster.status == "running"


def test_defaults_can_be_configured() -> None:
    values = {"n-workers": 2, "threads-per-worker": 3, "memory-limit": "1 GiB", "dashboard-address": None}
    with config.set({"local-cluster": values}):
        with LocalCluster(processes=False) as cluster:
            assert (len(cluster.workers), cluster._spec.sizing) == (2, Sizing(2, 3, 2**30))
            assert cluster.dashboard_link is None
        with LocalCluster(1, processes=False, memory_limit=None) as cluster:
            assert (cluster._spec.sizing.workers, cluster._spec.sizing.memory_limit) == (1, 0)
