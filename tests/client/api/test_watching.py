from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import threading
import types
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.client.api import Client, Future, progress, watching
from myscheduler.graph.delayed import delayed
from myscheduler.protocol import messages as m
from tests.client.fake import FakeCluster
from tests.client.support import eventually

WAIT = 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard output, as ``progress`` sees it. (pytest sets the real one anew when the test begins.)"""
    terminal = Terminal()
    monkeypatch.setattr(watching, "sys", types.SimpleNamespace(stdout=terminal, modules=sys.modules))
    return terminal


def inc(x: int) -> int:
    return x + 1


def fail() -> None:
    raise ValueError("no")


def asked(cluster: FakeCluster) -> list[Any]:
    return [message for message in cluster.ops(m.CALL) if message[2] == "progress"]


def in_thread(function: Any) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_a_terminal_sees_it_grow(client: Client, cluster: FakeCluster, terminal: Terminal) -> None:
    cluster.held = True
    cluster.answers["progress"] = (("inc", 1, 2, 0), ("sum", 1, 0, 0))
    futures = client.map(inc, range(2))
    thread = in_thread(lambda: progress(futures, interval=0.001))
    eventually(lambda: "0/3, 2 on workers" in terminal.getvalue())
    eventually(lambda: len(asked(cluster)) > 1)
    assert thread.is_alive()
    cluster.answers["progress"] = ()
    client.loop.call_soon_threadsafe(cluster.run_held)
    thread.join(WAIT)
    assert not thread.is_alive()
    last = terminal.getvalue().rpartition("\x1b[3A")[2].replace("\r\x1b[K", "").splitlines()
    assert last[0] == f"inc  [{40 * '#'}] 3/3"
    assert last[1] == f"sum  [{40 * '#'}] 1/1"
    assert last[2].endswith(" s")


def test_a_file_gets_the_outcome_only(client: Client, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.answers["progress"] = ()
    progress(client.submit(inc, 1), [client.submit(fail)])
    out = capsys.readouterr().out
    assert f"inc   [{40 * '#'}] 1/1\n" in out
    assert f"fail  [{40 * ' '}] 0/1, 1 failed\n" in out
    assert out.count("inc") == 1


def test_a_scheduler_that_does_not_answer_is_done_without(
    client: Client, cluster: FakeCluster, terminal: Terminal
) -> None:
    cluster.held = True
    cluster.refuse["progress"] = ("usage", "unknown method")
    futures = client.map(inc, range(2))
    thread = in_thread(lambda: progress(futures, interval=0.001))
    eventually(lambda: terminal.getvalue().count("0/2") > 2)
    assert len(asked(cluster)) == 1
    client.loop.call_soon_threadsafe(cluster.run_held)
    thread.join(WAIT)
    assert "2/2" in terminal.getvalue()


def test_many_futures_say_enough(client: Client, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "ASKED_MAX", 1)
    progress(client.map(inc, range(2)))
    assert asked(cluster) == []


def test_persisted_graphs(client: Client, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.answers["progress"] = ()
    progress(client.persist(delayed(inc)(1)))
    assert "] 1/1" in capsys.readouterr().out


def test_ctrl_c_leaves_the_tasks_running(client: Client, cluster: FakeCluster, terminal: Terminal) -> None:
    cluster.held = True
    cluster.answers["progress"] = (("inc", 1, 0, 0),)
    future = client.submit(inc, 1)

    def interrupt() -> None:
        eventually(lambda: "0/1" in terminal.getvalue())
        os.kill(os.getpid(), signal.SIGINT)

    thread = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        progress(future, interval=0.01)
    thread.join(WAIT)
    assert future.status == "pending"
    assert cluster.ops(m.CANCEL) == []
    client.loop.call_soon_threadsafe(cluster.run_held)
    assert future.result(WAIT) == 2


async def test_asynchronous_clients_await_it(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = await FakeCluster().start()
    try:
        async with Client(cluster, asynchronous=True) as client:
            cluster.held = True
            cluster.answers["progress"] = (("inc", 2, 0, 0),)
            task = asyncio.ensure_future(progress(client.map(inc, range(2)), interval=0.001))
            async with asyncio.timeout(WAIT):
                while not asked(cluster):
                    await asyncio.sleep(0)
                cluster.answers["progress"] = ()
                cluster.run_held()
                assert await task is None
        assert "] 2/2" in capsys.readouterr().out
    finally:
        cluster.stop()


# ---- notebooks ------------------------------------------------------------------------------------------------------


class Page:
    """What a notebook shows."""

    def __init__(self, kernel: object) -> None:
        self.shown: list[str] = []
        self.kernel = kernel

    def get_ipython(self) -> Any:
        return self

    def display(self, page: str, *, display_id: bool) -> Page:
        assert display_id
        self.update(page)
        return self

    def update(self, page: str) -> None:
        self.shown.append(page)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Page:
    page = Page(kernel=object())
    module = types.ModuleType("IPython.display")
    vars(module).update(HTML=str, display=page.display)
    shell = types.ModuleType("IPython")
    vars(shell).update(get_ipython=page.get_ipython, display=module)
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return page


def test_notebooks_show_a_bar_at_once(client: Client, cluster: FakeCluster, notebook: Page) -> None:
    cluster.held = True
    cluster.answers["progress"] = ()
    future = client.submit(inc, 1)
    assert progress(future, interval=0.001) is None
    assert "0/1" in notebook.shown[0]
    client.loop.call_soon_threadsafe(cluster.run_held)
    eventually(lambda: "1/1" in notebook.shown[-1])
    assert "width:100.0%" in notebook.shown[-1]


def test_text_in_notebooks(
    client: Client, cluster: FakeCluster, notebook: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.answers["progress"] = ()
    progress(client.submit(inc, 1), notebook=False)
    notebook.kernel = None
    progress(client.submit(inc, 1))
    assert notebook.shown == []
    assert capsys.readouterr().out.count("] 1/1") == 2


def test_html_without_ipython(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(UsageError, match="notebook=True needs IPython"):
        progress(client.submit(inc, 1), notebook=True)


# ---- bad input ------------------------------------------------------------------------------------------------------


def test_bad_input(client: Client, cluster: FakeCluster) -> None:
    with pytest.raises(UsageError, match=r"progress\(\) needs futures"):
        progress([1, 2])
    with pytest.raises(UsageError, match="interval='0s' is no time between two looks"):
        progress(client.submit(inc, 1), interval="0s")
    with pytest.raises(UsageError, match=r"Delayed\('x'\) has not been started; watch what client.compute"):
        progress(delayed(inc)(1, dask_key_name="x"))
    with Client(cluster) as other, pytest.raises(UsageError, match="belong to different clients"):
        progress(client.submit(inc, 1), other.submit(inc, 1))


# ---- what futures and clients look like -----------------------------------------------------------------------------


def test_html_of_futures(client: Client, cluster: FakeCluster) -> None:
    done, failed = client.submit(inc, 1, key="<x>"), client.submit(fail)
    assert done.result(WAIT) == 2
    assert isinstance(failed.exception(WAIT), ValueError)
    cluster.held = True
    cancelled = client.submit(inc, 2)
    cancelled.cancel(reason="<tired>")
    eventually(cancelled.cancelled)
    shown = [future._repr_html_() for future in (done, failed, cancelled)]
    assert "&lt;x&gt;</td>" in shown[0]
    assert ">int</td>" in shown[0]
    assert ">28 B</td>" in shown[0]
    assert "ValueError: no</td>" in shown[1]
    assert "&lt;tired&gt;" in shown[2]
    assert ">pending</td>" in client.submit(inc, 3)._repr_html_()
    assert isinstance(done, Future)


def test_html_of_clients(client: Client, cluster: FakeCluster) -> None:
    worker = {"nthreads": 2, "memory_limit": 2**30}
    cluster.answers["scheduler_info"] = {"workers": (worker, worker)}
    shown = client._repr_html_()
    assert f">{cluster.scheduler_address}</td>" in shown
    assert ">4</td>" in shown
    assert ">2.00 GiB</td>" in shown
    client.close()
    assert ">closed</td>" in client._repr_html_()
    assert "workers" not in client._repr_html_()
