"""What must hold of the deployed cluster, in order. A check returns what it found, in words, for the report."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from typing import Any, Final

from myscheduler import Client, wait
from myscheduler.base.credentials import Credentials
from myscheduler.base.errors import AuthenticationError

from .cluster import Cluster, until
from .engine import ROOT, run, works
from .tasks import blob, first, host_of, run_id, slow_square, square

#: More than Python's own image may be added.
IMAGE_MIB_MAX: Final = 160
#: A call of a client that cannot reach the workers; the scheduler is asked instead.
RELAYED_S_MAX: Final = 1.5
#: A group of its own, to which the firewall closes the containers' network.
OUTSIDERS: Final = 42786


class SkipError(Exception):
    """This check cannot be done here; says why."""


# ---- the image ------------------------------------------------------------------------------------------------------


def check_the_image_is_small(cluster: Cluster) -> str:
    sizes = [int(run("docker", "image", "inspect", "--format", "{{.Size}}", n)) for n in (cluster.image, cluster.base)]
    added = (sizes[0] - sizes[1]) / 2**20
    assert 0 < added < IMAGE_MIB_MAX, f"{added:.0f} MiB were added"
    return f"{sizes[0] / 2**20:.0f} MiB, {added:.0f} of them ours"


def check_the_image_runs_as_an_ordinary_user_and_cannot_build(cluster: Cluster) -> str:
    (config,) = [image["Config"] for image in json.loads(run("docker", "image", "inspect", cluster.image))]
    assert config["User"] == "1000:1000"
    assert config["Healthcheck"]["Test"][-1] == "tcp://127.0.0.1:8786"
    look = (
        "id -u; ls /source 2>&1; command -v gcc cc make; python -c 'import setuptools' 2>&1 | tail -1; command -v pip"
    )
    uid, source, setuptools, *pip = run("docker", "run", "--rm", cluster.image, "sh", "-c", look).splitlines()
    assert uid == "1000"
    assert "No such file" in source, source
    assert "No module named 'setuptools'" in setuptools, setuptools
    assert not any(path.startswith("/opt/venv") for path in pip), pip
    return "uid 1000; no compiler, no setuptools, no source"


def check_both_commands_run_in_the_image(cluster: Cluster) -> str:
    versions = {
        run("docker", "run", "--rm", "--read-only", "--user", "4321:4321", cluster.image, command, "--version").strip()
        for command in ("myscheduler", "myworker")
    }
    assert len(versions) == 1, versions
    return versions.pop()


def check_packages_can_be_added_to_the_image(cluster: Cluster) -> str:
    pip = ("docker", "run", "--rm", "--user", "0", cluster.image, "pip")
    listed = run(*pip, "list", "--format=freeze")
    assert "myscheduler==" in listed, f"pip looks elsewhere than Python does: {listed}"
    return f"pip of the base image installs beside {len(listed.splitlines())} packages"


# ---- up -------------------------------------------------------------------------------------------------------------


def check_credentials_are_made_in_one_step(cluster: Cluster) -> str:
    step = "myscheduler --write-credentials /out/cluster.json"
    assert step in (ROOT / "docs/howto/docker-compose.md").read_text(), "the documentation says something else"
    printed = cluster.make_credentials()
    status = (cluster.shared / "cluster.json").stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o600, cluster.uid)
    assert "readable by you only" in printed
    return "0600"


def check_it_comes_up_healthy(cluster: Cluster) -> str:
    started = time.monotonic()
    cluster.up(3)
    health = [cluster.inspect(container)["State"]["Health"] for container in cluster.containers()]
    assert [one["Status"] for one in health] == ["healthy"] * 4, health
    return f"4 containers in {time.monotonic() - started:.1f} s"


def check_containers_are_confined(cluster: Cluster) -> str:
    secrets = list(json.loads(cluster.credentials.read_text())["secrets"].values())
    for container in cluster.containers():
        found = cluster.inspect(container)
        host = found["HostConfig"]
        assert found["Config"]["User"] == f"{cluster.uid}:{cluster.gid}"
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"]
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
        text = json.dumps(found) + run("docker", "logs", container)
        assert not [secret for secret in secrets if secret in text], "a secret is shown"
        status = cluster.execute(container, "print(open('/proc/self/status').read())")
        assert re.search(r"CapEff:\s+0+\n", status) and re.search(rf"Uid:\s+{cluster.uid}\s", status), status
    addresses = {binding["HostIp"] for binding in _bindings(cluster)}
    assert addresses == {"127.0.0.1"}
    return "no root, no capabilities, nothing writable, no secret in sight, published on 127.0.0.1 only"


def _bindings(cluster: Cluster) -> list[dict[str, str]]:
    ports = [cluster.inspect(container)["NetworkSettings"]["Ports"] for container in cluster.containers()]
    return [binding for port in ports for bound in port.values() for binding in bound or ()]


# ---- computing ------------------------------------------------------------------------------------------------------


def check_a_client_outside_computes(cluster: Cluster) -> str:
    with cluster.client() as client:
        assert client.submit(sum, range(10)).result(10) == 45
        started = time.monotonic()
        assert client.gather(client.map(square, range(1000))) == [x * x for x in range(1000)]
        took = time.monotonic() - started
        assert [len(data) for data in client.gather(client.map(blob, range(6)))] == [1_000_000] * 6
        data = client.scatter(list(range(100)))
        assert client.submit(sum, data).result(10) == 4950
        hosts = set(client.gather(client.map(host_of, range(60))))
        assert len(hosts) > 1, "only one container has worked"
        return f"1000 tasks in {took * 1e3:.0f} ms, in {len(hosts)} containers"


def check_strangers_are_refused(cluster: Cluster) -> str:
    try:
        Client(cluster.address, credentials=Credentials.generate(), timeout=10).close()
    except AuthenticationError as error:
        return str(error)[:60] + "..."
    raise AssertionError("whoever has other credentials was let in")


def check_workers_out_of_reach_cost_no_time(cluster: Cluster) -> str:
    """As with Docker Desktop, where the containers' network is inside of a virtual machine."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        raise SkipError("closing the containers' network to one process takes root and setpriv")
    (subnet,) = {
        config["Subnet"]
        for network in json.loads(run("docker", "network", "inspect", f"{cluster.project}_default"))
        for config in network["IPAM"]["Config"]
    }
    rule = ["OUTPUT", "-m", "owner", "--gid-owner", str(OUTSIDERS), "-d", subnet, "-j", "DROP"]
    if not works("iptables", "-I", *rule):
        raise SkipError("this kernel's firewall cannot tell processes apart")
    try:
        printed = run(
            *("setpriv", "--regid", str(OUTSIDERS), "--clear-groups"),
            *(sys.executable, "-m", "tests.deploy_docker.outside", cluster.address),
            stderr=False,
        )
    finally:
        run("iptables", "-D", *rule)
    times: dict[str, float] = json.loads(printed)
    late = {name: seconds for name, seconds in times.items() if seconds > RELAYED_S_MAX}
    assert not late, f"these calls waited for workers that cannot be reached: {late}"
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in times.items())


# ---- failures -------------------------------------------------------------------------------------------------------


def check_what_a_crashed_container_held_is_made_again(cluster: Cluster) -> str:
    with cluster.client() as client:
        futures = client.map(blob, range(12))
        wait(futures, 30)
        address = client.who_has([futures[0]])[futures[0].key][0]
        container = cluster.worker_of(address)
        started = time.monotonic()
        cluster.signal(container, "myscheduler.worker.server", "SIGKILL")
        cluster.signal(container, "myworker", "SIGKILL")
        assert client.gather(futures) == [blob(x) for x in range(12)]
        recomputed = time.monotonic() - started
        until(lambda: cluster.inspect(container)["RestartCount"] >= 1, 30, "the engine starts the container again")
        until(lambda: len(client.nthreads()) == 3, 30, "its worker is back")
        back = time.monotonic() - started
        assert client.gather(client.map(square, range(300))) == [x * x for x in range(300)]
    until(lambda: _is_healthy(cluster, container), 60, "it is healthy again")
    return f"results again after {recomputed:.1f} s, worker back after {back:.1f} s"


def _is_healthy(cluster: Cluster, container: str) -> bool:
    return bool(cluster.inspect(container)["State"]["Health"]["Status"] == "healthy")


def check_work_goes_on_without_a_killed_container(cluster: Cluster) -> str:
    with cluster.client() as client:
        futures = client.map(slow_square, range(400))
        futures[0].result(20)
        victim = cluster.containers("worker")[0]
        run("docker", "kill", victim)
        assert client.gather(futures) == [x * x for x in range(400)]
        cluster.up(3, wait=False)
        until(lambda: len(client.nthreads()) == 3, 60, "`up` brings it back")
    return "400 tasks, one container fewer, then `up` again"


def check_stopped_workers_hand_their_results_over(cluster: Cluster) -> str:
    with cluster.client() as client:
        runs = client.map(run_id, range(24), pure=False)
        before = client.gather(runs)
        address = client.who_has([runs[0]])[runs[0].key][0]
        container = cluster.worker_of(address)
        started = time.monotonic()
        run("docker", "stop", container)
        took = time.monotonic() - started
        assert cluster.inspect(container)["State"]["ExitCode"] == 0
        assert client.gather(client.map(first, runs)) == [one[0] for one in before], (
            "results were made again, not handed over"
        )
        cluster.up(3, wait=False)
        until(lambda: len(client.nthreads()) == 3, 60, "`up` brings it back")
    return f"stopped in {took:.1f} s with exit code 0"


def check_the_scheduler_is_started_again_and_workers_find_it(cluster: Cluster) -> str:
    (container,) = cluster.containers("scheduler")
    started = time.monotonic()
    cluster.signal(container, "bin/myscheduler", "SIGKILL")
    until(lambda: cluster.inspect(container)["RestartCount"] >= 1, 30, "the engine starts the scheduler again")
    with cluster.client() as client:
        back = time.monotonic() - started
        assert client.submit(square, 12).result(30) == 144
    until(lambda: _is_healthy(cluster, container), 60, "it is healthy again")
    return f"3 workers at the new one after {back:.1f} s"


def check_a_stuck_worker_is_not_healthy(cluster: Cluster) -> str:
    container = cluster.containers("worker")[0]
    ask = ("docker", "exec", container, "python", "-m", "myscheduler.deploy.health", "--worker", cluster.inside)
    started = time.monotonic()
    cluster.signal(container, "myscheduler.worker.server", "SIGSTOP")
    try:
        until(lambda: "unhealthy:" in run(*ask, check=False), 90, "the health check notices")
        noticed = time.monotonic() - started
    finally:
        cluster.signal(container, "myscheduler.worker.server", "SIGCONT")
    until(lambda: works(*ask), 60, "it recovers once it runs again")
    return f"noticed after {noticed:.0f} s, well again after {time.monotonic() - started - noticed:.0f} s"


# ---- the dashboard --------------------------------------------------------------------------------------------------


def check_the_printed_link_opens_the_dashboard(cluster: Cluster) -> str:
    (container,) = cluster.containers("scheduler")
    link = re.findall(rf"http://{re.escape(cluster.dashboard)}/\?token=\S+", run("docker", "logs", container))[-1]
    with cluster.client() as client:
        assert client.dashboard_link == link
        base, by_name = f"http://{cluster.dashboard}", f"http://{cluster.dashboard.replace('127.0.0.1', 'localhost')}"
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        assert _get(browser, f"{base}/health") == _get(browser, f"{by_name}/health") == (200, "ok\n")
        assert _get(browser, f"{base}/api/v1/overview")[0] == 403
        status, page = _get(browser, link)
        assert status == 200 and "<html" in page
        overview = json.loads(_get(browser, f"{base}/api/v1/overview")[1])
        assert overview["totals"]["workers"] == 3, overview
        rebound = urllib.request.Request(f"{base}/health", headers={"Host": "evil.example:8787"})
        assert _get(browser, rebound)[0] == 403
    return "3 workers shown; other host names refused"


def _get(browser: Any, url: str | urllib.request.Request) -> tuple[int, str]:
    try:
        with browser.open(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


# ---- limits, down ---------------------------------------------------------------------------------------------------


def check_workers_fit_into_their_limits(cluster: Cluster) -> str:
    limits = {"MYSCHEDULER_WORKER_CPUS": "1", "MYSCHEDULER_WORKER_MEMORY": "700m"}
    os.environ.update(limits)
    try:
        cluster.up(1, wait=False)
        with cluster.client(1) as client:
            worker = until(lambda: _only_limited(client), 60, "the worker with limits is there")
    finally:
        for name in limits:
            del os.environ[name]
    return f"{worker['nthreads']} thread, {worker['memory_limit'] / 2**20:.0f} MiB"


def _only_limited(client: Client) -> dict[str, Any] | None:
    workers = list(client.scheduler_info()["workers"].values())
    fits = len(workers) == 1 and workers[0]["nthreads"] == 1 and 0 < workers[0]["memory_limit"] <= 700 * 2**20
    return dict(workers[0]) if fits else None


def check_down_leaves_nothing(cluster: Cluster) -> str:
    started = time.monotonic()
    cluster.down()
    took = time.monotonic() - started
    assert cluster.containers(everything=True) == []
    label = f"--filter=label=com.docker.compose.project={cluster.project}"
    assert run("docker", "network", "ls", "--quiet", label).split() == []
    assert run("docker", "volume", "ls", "--quiet", label).split() == []
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=False).stdout
    assert "/opt/venv/bin/my" not in processes, "a process has outlived its container"
    return f"in {took:.1f} s"


CHECKS: Final[list[Callable[[Cluster], str]]] = [
    check_the_image_is_small,
    check_the_image_runs_as_an_ordinary_user_and_cannot_build,
    check_both_commands_run_in_the_image,
    check_packages_can_be_added_to_the_image,
    check_credentials_are_made_in_one_step,
    check_it_comes_up_healthy,
    check_containers_are_confined,
    check_a_client_outside_computes,
    check_strangers_are_refused,
    check_workers_out_of_reach_cost_no_time,
    check_the_printed_link_opens_the_dashboard,
    check_what_a_crashed_container_held_is_made_again,
    check_work_goes_on_without_a_killed_container,
    check_stopped_workers_hand_their_results_over,
    check_the_scheduler_is_started_again_and_workers_find_it,
    check_a_stuck_worker_is_not_healthy,
    check_workers_fit_into_their_limits,
    check_down_leaves_nothing,
]
