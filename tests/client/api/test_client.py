from __future__ import annotations

import contextvars
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from myscheduler.base import config
from myscheduler.base.credentials import Credentials, read_scheduler_file, write_scheduler_file
from myscheduler.base.errors import (
    AuthenticationError,
    CancelledError,
    ClosedError,
    ConnectionFailedError,
    UsageError,
    VersionMismatchError,
)
from myscheduler.client.api import Client, default_client, get_client, hooks
from myscheduler.client.api.loop import LoopThread
from myscheduler.graph import schedulers
from myscheduler.protocol import messages as m
from tests.client.fake import FakeCluster
from tests.client.support import eventually


def inc(x: int) -> int:
    return x + 1


class TestConnecting:
    def test_by_cluster_and_by_address(self, cluster: FakeCluster) -> None:
        with Client(cluster) as client:
            assert client.cluster is cluster
            assert client.scheduler_address == cluster.scheduler_address
            assert client.status == "running"
        with Client(cluster.scheduler_address, name="me") as client:
            assert client.cluster is None
            assert client.submit(inc, 1).result(5) == 2
        hello = cluster.ops(m.HELLO)[-1][1]
        assert (hello["name"], hello["pid"]) == ("me", os.getpid())
        assert set(hello["versions"]) == {"python", "myscheduler"}

    @pytest.mark.parametrize("key", ["scheduler-address", "scheduler-file"])
    @pytest.mark.parametrize("prefix", ["MYSCHEDULER_", "MYSCHEDULER__"])
    def test_by_environment(
        self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefix: str, key: str
    ) -> None:
        variable = prefix + key.replace("-", "_").upper()
        path = write_scheduler_file(tmp_path / "s.json", cluster.scheduler_address, Credentials.generate(), "http://d")
        monkeypatch.setenv(variable, str(path) if key == "scheduler-file" else cluster.scheduler_address)
        if key == "scheduler-file":  # has credentials, which the fake does not expect
            with pytest.raises(AuthenticationError):
                Client()
        else:
            with Client() as client:
                assert client.scheduler_address == cluster.scheduler_address
        with pytest.raises(UsageError, match=f"n_workers= would configure a new local cluster.*{variable}"):
            Client(n_workers=2)

    def test_by_configuration(self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """What the program says beats what the environment says."""
        monkeypatch.setenv("MYSCHEDULER_SCHEDULER_FILE", str(tmp_path / "missing.json"))
        with config.set(scheduler_address=cluster.scheduler_address), Client() as client:
            assert client.scheduler_address == cluster.scheduler_address

    def test_by_scheduler_file(self, cluster: FakeCluster, tmp_path: Path) -> None:
        credentials = Credentials.generate()
        path = write_scheduler_file(tmp_path / "s.json", "", credentials)
        with pytest.raises(UsageError, match="names no address"):
            Client(scheduler_file=path)
        with pytest.raises(UsageError, match="either an address or scheduler_file="):
            Client("tcp://h:1", scheduler_file=path)

    def test_what_cannot_be_connected_to(self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UsageError, match="cannot connect to 3"):
            Client(3)
        with pytest.raises(UsageError, match="unknown scheme 'ftp'"):
            Client("ftp://h")
        with pytest.raises(ConnectionFailedError, match="within 0.05 s"):
            Client("inproc://nobody", timeout="50ms")
        with pytest.raises(UsageError, match="timeout=None"):
            Client(cluster, timeout=None)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="credentials= needs the address"):
            Client(credentials=Credentials.generate())
        with pytest.raises(UsageError, match=r"n_workers= would configure.*by its address"):
            Client(cluster, n_workers=2)

    def test_being_refused(self, cluster: FakeCluster, caplog: pytest.LogCaptureFixture) -> None:
        cluster.refuse["hello"] = ("version", "client 1, scheduler 2; install the same version")
        with pytest.raises(VersionMismatchError, match="install the same version"):
            Client(cluster)
        assert caplog.text == ""

    def test_a_scheduler_that_does_not_answer(self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cluster, "on_hello", lambda link, info: None)
        with pytest.raises(ConnectionFailedError, match=r"did not answer within 0\.1 s"):
            Client(cluster, timeout=0.1)


class TestOwnCluster:
    def test_it_is_started_and_ends_with_the_client(
        self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[dict[str, Any]] = []
        closed: list[bool] = []

        def factory(**options: Any) -> FakeCluster:
            asked.append(options)
            return cluster

        monkeypatch.setattr(cluster, "close", lambda: closed.append(True), raising=False)
        monkeypatch.setattr(hooks, "cluster_factory", factory)
        with Client(n_workers=3) as client:
            assert client.cluster is cluster
            assert closed == []
        assert asked == [{"asynchronous": False, "n_workers": 3}]
        assert closed == [True]
        cluster.refuse["hello"] = ("closing", "no")
        with pytest.raises(ClosedError):
            Client()
        assert closed == [True, True]

    def test_without_a_factory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hooks, "cluster_factory", None)
        with pytest.raises(UsageError, match="give the address of a running scheduler"):
            Client()


class TestClosing:
    def test_futures_of_a_closed_client_say_so(self, cluster: FakeCluster) -> None:
        with Client(cluster) as client:
            done = client.submit(inc, 1)
            assert done.result(5) == 2
            cluster.held = True
            pending = client.submit(inc, 1)
        for future in (done, pending):
            with pytest.raises(CancelledError, match=f"client {client.id} was closed"):
                future.result()
        assert (client.status, repr(client)) == ("closed", f"<Client: '{cluster.scheduler_address}' closed>")
        client.close()
        assert [message[0] for message in cluster.received][-1] == m.GOODBYE

    def test_who_waits_is_woken(self, cluster: FakeCluster) -> None:
        cluster.held = True
        client = Client(cluster)
        future = client.submit(inc, 1)
        errors: list[BaseException | None] = []

        def waiter() -> None:
            try:
                future.result(5)
            except CancelledError as error:
                errors.append(error)

        thread = threading.Thread(target=waiter)
        thread.start()
        eventually(lambda: future.record.waiters)
        client.close()
        thread.join(5)
        assert "was closed" in str(errors[0])

    def test_shutdown(self, cluster: FakeCluster) -> None:
        cluster.answers["shutdown"] = None
        client = Client(cluster)
        client.shutdown()
        assert client.status == "closed"
        assert cluster.ops(m.CALL)[-1][2] == "shutdown"
        client.close()


class TestDefaults:
    def test_the_newest_open_client_is_the_default(self, cluster: FakeCluster) -> None:
        with pytest.raises(UsageError, match="make one first"):
            default_client()
        with pytest.raises(UsageError, match="make one first"):
            get_client()
        with Client(cluster) as first:
            assert default_client() is Client.current() is first
            with Client(cluster) as second, Client(cluster, set_as_default=False) as third:
                assert get_client() is second
                with third.as_current():
                    assert get_client() is third
                    assert default_client() is second
                    assert schedulers.resolve() is third.scheduler
                assert default_client(third) is third
                assert schedulers.resolve() is second.scheduler
            assert get_client() is first
            assert schedulers.resolve() is first.scheduler
        assert schedulers.resolve() is schedulers.resolve(schedulers.FALLBACK)

    def test_as_current_is_of_one_thread(self, cluster: FakeCluster) -> None:
        with Client(cluster) as first, Client(cluster, set_as_default=False) as second, second.as_current():
            found: list[Client] = []
            thread = threading.Thread(target=lambda: contextvars.Context().run(lambda: found.append(get_client())))
            thread.start()
            thread.join()
            assert found == [first]

    def test_inside_a_task_the_workers_scheduler_is_meant(
        self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = hooks.WorkerContext(cluster.scheduler_address, None)
        monkeypatch.setattr(hooks, "current_worker", lambda: context)
        with Client(cluster) as outer:
            first = get_client()
            assert first is get_client() is context.cache["client"] is not outer
            assert first.submit(inc, 1).result(5) == 2
            first.close()
            assert get_client() is not first
        get_client().close()

    def test_another_address_opens_another_client(self, client: Client, cluster: FakeCluster) -> None:
        assert get_client(cluster.scheduler_address) is client
        with pytest.raises(ConnectionFailedError):
            get_client("inproc://nobody", timeout=0.01)


class TestQuestions:
    def test_answers_are_mappings(self, client: Client, cluster: FakeCluster) -> None:
        cluster.answers.update(
            nthreads=(("tcp://a", 2), ("tcp://b", 1)),
            who_has=(("x", ("tcp://a",)),),
            has_what=(("tcp://a", ("x",)),),
            processing=(("tcp://a", ()),),
            explain="it waits",
            scheduler_info={
                "address": "inproc://s",
                "workers": ({"address": "tcp://a", "nthreads": 2, "memory_limit": 2**30},),
            },
        )
        assert client.nthreads() == client.ncores() == {"tcp://a": 2, "tcp://b": 1}
        assert client.nthreads("tcp://b") == {"tcp://b": 1}
        assert client.who_has(client.submit(inc, 1)) == {"x": ["tcp://a"]}
        assert client.has_what(["tcp://a"]) == {"tcp://a": ("x",)}
        assert client.processing() == {"tcp://a": ()}
        assert client.explain("x") == "it waits"
        assert client.scheduler_info()["workers"]["tcp://a"]["nthreads"] == 2
        assert repr(client) == f"<Client: '{cluster.scheduler_address}' processes=1 threads=2, memory=1.00 GiB>"
        assert cluster.ops(m.CALL)[-3][2:] == ("explain", ("x",))

    def test_commands(self, client: Client, cluster: FakeCluster) -> None:
        cluster.answers.update(restart=None, retire_workers=None, wait_for_workers=None)
        client.wait_for_workers(2)
        client.restart()
        client.restart(wait_for_workers=False)
        client.retire_workers("alice")
        assert [message[2:] for message in cluster.ops(m.CALL)] == [
            ("wait_for_workers", (2,)),
            ("restart", ()),
            ("restart", ()),
            ("retire_workers", (("alice",),)),
        ]

    def test_waiting_too_long_says_how_many_are_there(self, client: Client, cluster: FakeCluster) -> None:
        cluster.answers["nthreads"] = (("tcp://a", 2),)
        with pytest.raises(TimeoutError, match=r"only 1 of 3 workers were there after 0\.01 s"):
            client.wait_for_workers(3, timeout=0.01)
        with pytest.raises(TimeoutError, match=r"not back 0\.01 s after the restart"):
            client.restart(timeout=0.01)
        with pytest.raises(UsageError, match="n_workers=-1"):
            client.wait_for_workers(-1)
        assert client.session.machine._requests

    def test_attributes(self, client: Client, cluster: FakeCluster, tmp_path: Path) -> None:
        assert client.loop is LoopThread.shared().loop
        assert client.asynchronous is False
        assert client.dashboard_link is None
        future = client.submit(inc, 1, key="x")
        assert list(client.futures) == [future.key]
        with pytest.raises(UsageError, match="no credentials to write"):
            client.write_scheduler_file(tmp_path / "s.json")
        client._target.credentials = Credentials.generate()  # type: ignore[union-attr]
        path = client.write_scheduler_file(tmp_path / "s.json")
        assert read_scheduler_file(path).address == cluster.scheduler_address


class TestForking:
    def test_a_child_is_told_that_the_client_is_not_its_own(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "_pid", -1)
        with pytest.raises(UsageError, match="made before a fork"):
            client.submit(inc, 1)
        with pytest.raises(UsageError, match="made before a fork"):
            client.gather([])
        monkeypatch.undo()
        assert client.submit(inc, 1).result(5) == 2
