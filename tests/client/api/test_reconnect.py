"""Clients of real clusters lose their connections, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from myscheduler import Client, ClosedError, LocalCluster, as_completed, config, wait
from myscheduler.client.api import session
from tests.client.support import eventually, eventually_async
from tests.support.proxy import Proxy, proxy_for

#: Seconds that the scheduler of the shared cluster waits for clients: longer than any machine takes to come back.
PATIENT_S = 60


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Reached by any name, so also through a proxy: a cluster that other machines could reach."""
    with (
        config.set(client_grace=PATIENT_S),
        LocalCluster(n_workers=2, threads_per_worker=1, host="0.0.0.0", dashboard_address=None) as cluster,
    ):
        yield cluster


@pytest.fixture
def proxy(cluster: LocalCluster) -> Iterator[Proxy]:
    with proxy_for(cluster.scheduler_address) as proxy:
        yield proxy


@pytest.fixture
def client(cluster: LocalCluster, proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.address, credentials=cluster.credentials) as client:
        yield client


def note(directory: Path, number: int) -> int:
    """Leave a trace of each run."""
    with (directory / str(number)).open("a") as file:
        file.write("x")
    return number * number


def held(gate: Path, number: int) -> int:
    """Return once the gate is there."""
    while not gate.exists():
        time.sleep(0.005)
    return number


# ---- nothing is lost, nothing happens twice -------------------------------------------------------------------------


def test_tasks_submitted_over_a_breaking_connection_run_once(client: Client, proxy: Proxy, tmp_path: Path) -> None:
    before = proxy.broken
    proxy.budget = 300_000
    proxy.cut()
    futures = [client.submit(note, tmp_path, number, key=f"note-{number}") for number in range(2_000)]
    assert client.gather(futures) == [number * number for number in range(2_000)]
    assert proxy.broken > before
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {1}
    assert len(list(tmp_path.iterdir())) == 2_000


def test_ten_thousand_tasks_of_a_map(client: Client, proxy: Proxy) -> None:
    proxy.budget = 150_000
    proxy.cut()
    done = [future.result() for future in as_completed(client.map(abs, range(-10_000, 0)))]
    assert sorted(done) == list(range(1, 10_001))
    assert proxy.broken > 1


def test_values_that_come_through_the_scheduler(client: Client, proxy: Proxy) -> None:
    futures = client.map(bytes, [200_000 + index for index in range(20)])
    wait(futures)
    proxy.budget = 900_000
    proxy.cut()
    for start in range(0, 20, 2):
        values = client.gather(futures[start : start + 2], direct=False)
        assert [len(value) for value in values] == [200_000 + start, 200_001 + start]
    assert proxy.broken > 1


async def test_an_asynchronous_client(cluster: LocalCluster, proxy: Proxy) -> None:
    proxy.budget = 120_000
    async with Client(proxy.address, credentials=cluster.credentials, asynchronous=True) as client:
        futures = client.map(abs, range(-3_000, 0))
        assert sum(await client.gather(futures)) == 4_501_500
        assert proxy.broken
        proxy.budget = None
        proxy.refusing = True
        proxy.cut()
        await eventually_async(lambda: client.status == "reconnecting")
        late = client.submit(abs, -7)
        proxy.refusing = False
        assert await late == 7


def test_the_loop_of_an_asynchronous_client_may_end_with_it(cluster: LocalCluster) -> None:
    async def use() -> list[bool]:
        async with Client(cluster.scheduler_address, credentials=cluster.credentials, asynchronous=True) as client:
            assert len(await client.submit(bytes, 200_000)) == 200_000
            peers = [task.result() for task in client.session.data._peers.values()]
            links = [client.session.link, *(peer.link for peer in peers)]
        return [link is not None and link._gone for link in links]

    assert asyncio.run(use()) == [True, True]


# ---- while it is away -----------------------------------------------------------------------------------------------


def test_a_client_that_is_away_takes_calls_and_says_so(
    client: Client, proxy: Proxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "myscheduler.client")
    gate = tmp_path / "gate"
    early = client.submit(held, gate, 1)
    proxy.refusing = True
    proxy.cut()
    eventually(lambda: client.status == "reconnecting")
    assert repr(client) == f"<Client: '{proxy.address}' reconnecting>"
    assert "reconnecting" in client._repr_html_()
    late = client.submit(held, gate, 2)
    gate.touch()
    assert (early.status, late.status) == ("pending", "pending")
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(client.nthreads()))
    asking.start()
    proxy.refusing = False
    assert client.gather([early, late]) == [1, 2]
    asking.join(timeout=30)
    assert len(answers) == 1
    eventually(lambda: client.status == "running")
    first, last = caplog.messages[0], caplog.messages[-1]
    assert "the connection to the scheduler was lost (" in first
    assert first.endswith(f"trying to come back for {PATIENT_S} s")
    assert "connected to the scheduler again after" in last


def test_a_client_that_is_away_closes_at_once(cluster: LocalCluster, proxy: Proxy) -> None:
    client = Client(proxy.address, credentials=cluster.credentials)
    future = client.submit(abs, -1, key="never-fetched")
    proxy.refusing = True
    proxy.cut()
    eventually(lambda: client.status == "reconnecting")
    client.close()
    assert (client.status, future.status) == ("closed", "cancelled")


def test_a_connection_that_only_one_side_knows_to_be_dead_is_replaced(client: Client, proxy: Proxy) -> None:
    assert client.submit(abs, -1).result() == 1
    proxy.cut(half=True)
    assert sum(client.gather(client.map(abs, range(-100, 0)))) == 5_050
    assert proxy.accepted == 2


def test_a_scheduler_whose_machine_does_not_answer_is_dialled_again(
    cluster: LocalCluster, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_LOOK_S", 0.05)
    with Client(proxy.address, credentials=cluster.credentials) as client:
        own = client._session
        assert own is not None
        link = own.link
        assert link is not None
        monkeypatch.setattr(link, "machine_silence", lambda: 10.0, raising=False)
        eventually(lambda: proxy.accepted == 2)
        assert client.submit(abs, -1).result() == 1
        assert own.link is not link


# ---- when it does not come back -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def impatient() -> Iterator[LocalCluster]:
    with (
        config.set(client_grace="500 ms"),
        LocalCluster(n_workers=1, threads_per_worker=1, host="0.0.0.0", dashboard_address=None) as cluster,
    ):
        yield cluster


def test_futures_fail_in_words_when_there_is_no_way_back(impatient: LocalCluster, tmp_path: Path) -> None:
    with (
        proxy_for(impatient.scheduler_address) as proxy,
        Client(proxy.address, credentials=impatient.credentials) as client,
    ):
        here, pending = client.submit(abs, -1), client.submit(held, tmp_path / "gate", 1)
        assert here.result() == 1
        proxy.refusing = True
        proxy.cut()
        with pytest.raises(ClosedError) as caught:
            pending.result(timeout=30)
        (tmp_path / "gate").touch()
        text = str(caught.value)
        assert "no way back within 0.5 s: " in text
        assert text.endswith("make a new Client, and submit again what is needed")
        assert (client.status, here.result()) == ("closed", 1)
        with pytest.raises(ClosedError, match="no way back"):
            client.submit(abs, -1)


def test_the_futures_of_a_killed_client_are_released_and_others_notice_nothing(
    impatient: LocalCluster, tmp_path: Path
) -> None:
    with impatient.get_client() as other:
        file = other.write_scheduler_file(tmp_path / "cluster.json")
        code = f"""if True:
            import time
            from myscheduler import Client
            client = Client(scheduler_file={str(file)!r})
            futures = client.map(abs, range(-300, 0), key=[f"doomed-{{i}}" for i in range(300)])
            client.gather(futures)
            print("ready", flush=True)
            time.sleep(600)
        """
        mine = other.map(abs, range(-50, 0))
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                assert other.scheduler_info()["tasks"] == 350
            finally:
                process.kill()
        eventually(lambda: other.scheduler_info()["tasks"] == 50, timeout=30)
        assert sum(other.gather(mine)) == 1_275


def test_a_planned_end_is_not_waited_for() -> None:
    with config.set(client_grace=600):
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None)
    client = cluster.get_client()
    future = client.submit(time.sleep, 600)
    cluster.close()
    with pytest.raises(ClosedError, match="the connection to the scheduler was lost"):
        future.result(timeout=30)
    assert client.status == "closed"
    client.close()
