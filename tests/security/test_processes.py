"""A whole cluster of processes, seen from outside: where it listens, what it shows, what it leaves in files."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from myscheduler.base.credentials import Credentials, publish_cluster, write_scheduler_file
from myscheduler.deploy import LocalCluster
from tests.support.repository import ROOT

#: The most talkative one says what all others do; the usual one is formatted by other code.
LEVELS = ["DEBUG", "WARNING"]
PAGES = (
    "status",
    "tasks",
    "task",
    "view/tasks",
    "api/v1/overview",
    "api/v1/workers",
    "api/v1/tasks",
    "metrics",
    "health",
)


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def secrets_of(cluster: LocalCluster) -> dict[str, str]:
    """In every spelling that somebody could have printed."""
    assert cluster.credentials is not None
    found = {}
    for role, secret in cluster.credentials.secrets.items():
        found[role] = secret.hex()
        found[f"{role} as text"] = secret.decode("latin-1")
        found[f"{role} as repr"] = repr(secret)[2:-1]
    assert cluster.dashboard_link is not None
    found["dashboard"] = parse_qs(urlsplit(cluster.dashboard_link).query)["token"][0]
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=False) as cluster:
        yield cluster


# ---- where it listens -----------------------------------------------------------------------------------------------


def test_everything_listens_on_the_loopback_interface_only(cluster: LocalCluster) -> None:
    cluster.wait_for_workers(2, timeout=30)
    listening = [
        (process.pid, connection.laddr.ip)
        for process in descendants()
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len({pid for pid, _ in listening}) >= 4, "the scheduler, two workers and the dashboard"
    assert {ip for _, ip in listening} == {"127.0.0.1"}


@pytest.mark.parametrize("command", ["myscheduler.cli.scheduler", "myscheduler.cli.worker"])
def test_other_machines_are_let_in_by_encryption_or_an_explicit_flag_only(command: str) -> None:
    code = f"from {command} import main; main(['--help'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "--insecure-plaintext" in ended.stdout
    assert "127.0.0.1" in ended.stdout


# ---- what it shows --------------------------------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    return dict(os.environ)


def _fails() -> None:
    raise ValueError("as it should")


def test_no_secret_in_argv_environments_reprs_tracebacks_or_pages(cluster: LocalCluster) -> None:
    secrets = secrets_of(cluster)
    shown: dict[str, str] = {}
    for process in descendants():
        for name in ("cmdline", "environ"):
            shown[f"{name} of {process.name()} {process.pid}"] = Path(f"/proc/{process.pid}/{name}").read_text(
                "latin-1"
            )
    with cluster.get_client() as client:
        shown["environment of a task"] = str(client.submit(_environment).result(timeout=30))
        failed = client.submit(_fails)
        shown["error"] = repr(failed.exception(timeout=30))
        shown["traceback"] = str(failed.traceback(timeout=30))
        shown["explanation"] = client.explain(failed)
        shown["client"] = repr(client) + str(client.scheduler_info())
        shown["dumps"] = str(vars(client)) + str(vars(cluster))
        for name, page in _pages(cluster).items():
            shown[f"page {name}"] = page
    shown["credentials"] = f"{cluster.credentials!r} {cluster.credentials}"
    assert len(shown) > 15
    # Bokeh's own signed token is not ours, and the link is there to be shown by those who hold the client.
    allowed = {("client", "dashboard"), ("dumps", "dashboard")}
    found = [(place, name) for place, text in shown.items() for name, secret in secrets.items() if secret in text]
    assert not [pair for pair in found if pair not in allowed]


def _pages(cluster: LocalCluster) -> dict[str, str]:
    assert cluster.dashboard_link is not None
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with browser.open(cluster.dashboard_link, timeout=30) as answer:
        found = {"first": answer.read().decode()}
    root = cluster.dashboard_link.partition("?")[0].rstrip("/")
    for page in PAGES:
        with browser.open(f"{root}/{page}", timeout=30) as answer:
            found[page] = answer.read().decode() + str(answer.headers)
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_no_secret_in_logs_at_any_level(level: str) -> None:
    code = f"""
import logging, sys
logging.basicConfig(level="{level}", stream=sys.stderr)
from myscheduler.deploy import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs="{level}") as cluster:
        with cluster.get_client() as client:
            assert client.submit(pow, 2, 3).result(timeout=30) == 8
            assert client.submit(pow, 0, -1).exception(timeout=30) is not None
        from urllib.request import HTTPCookieProcessor, build_opener
        build_opener(HTTPCookieProcessor()).open(cluster.dashboard_link, timeout=30).read()
        for secret in cluster.credentials.secrets.values():
            print(secret.hex())
        print(cluster.dashboard_link.partition("token=")[2])
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    secrets = ended.stdout.split()
    assert ended.returncode == 0, ended.stderr
    assert len(secrets) == 4
    assert not [secret for secret in secrets if secret in ended.stderr]
    if level == "DEBUG":
        assert "DEBUG" in ended.stderr, "there is something to look at"


def test_every_logger_may_be_as_talkative_as_it_likes(caplog: pytest.LogCaptureFixture) -> None:
    credentials = Credentials.generate()
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("myscheduler").debug("%s %r %s", credentials, credentials, credentials.secrets.keys())
    assert "<secret>" in caplog.text
    assert not [secret for secret in credentials.secrets.values() if secret.hex() in caplog.text]


# ---- what it leaves in files ----------------------------------------------------------------------------------------


def test_files_are_private_even_without_a_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("MYSCHEDULER_HOME", str(home))
    before = os.umask(0)
    try:
        credentials = Credentials.generate().certified()
        write_scheduler_file(tmp_path / "cluster.json", "tcp://127.0.0.1:1", credentials)
        publish_cluster("tcp://127.0.0.1:1", credentials)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in tmp_path.rglob("*")}
    assert len(modes) == 4
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
