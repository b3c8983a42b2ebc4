"""Where clients can be made and graphs be run: with a running loop, without one, inside tasks, in notebooks."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import nbclient
import nbformat
import pytest

from myscheduler import Client, LocalCluster, compute, config, delayed, get_client

OPTIONS: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}


def inc(x: int) -> int:
    return x + 1


def total(n: int = 4) -> Any:
    return delayed(sum)([delayed(inc)(i) for i in range(n)])


# ---- a running loop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [False, True])
async def test_blocking_clients_with_a_running_loop(processes: bool) -> None:
    asyncio.get_running_loop()
    with Client(processes=processes, **OPTIONS) as client:
        future = client.submit(inc, 1)
        assert future.result(30) == 2
        assert await future == 2
        assert total().compute() == 10
        assert client.gather(client.map(inc, range(3))) == [1, 2, 3]


async def test_asynchronous_clients_with_a_running_loop() -> None:
    async with Client(processes=False, asynchronous=True, **OPTIONS) as client:
        assert await client.submit(inc, 1) == 2
        assert await client.compute(total(), sync=True) == 10


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
async def test_schedulers_of_one_machine_with_a_running_loop(scheduler: str) -> None:
    asyncio.get_running_loop()
    assert total().compute(scheduler=scheduler) == 10


# ---- inside tasks ---------------------------------------------------------------------------------------------------


def ask() -> tuple[int, int]:
    client = get_client()
    return os.getpid(), client.submit(inc, 1).result() + sum(client.gather(client.map(inc, range(3))))


def run_a_graph(scheduler: str | None) -> int:
    result: int = compute(total(), scheduler=scheduler)[0]
    return result


def start_a_cluster() -> int:
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster, Client(cluster) as client:
        return client.submit(inc, 1).result()


def connect(address: str) -> int:
    with Client(address) as client:
        return client.submit(inc, 1).result()


async def ask_later() -> int:
    future = get_client().submit(inc, 1)
    return await future


def test_tasks_have_a_client(client: Client) -> None:
    pid, value = client.submit(ask).result(30)
    assert value == 2 + 6
    assert (pid == os.getpid()) == client.scheduler_address.startswith("inproc")
    assert client.submit(ask_later).result(30) == 2


@pytest.mark.parametrize("scheduler", [None, "distributed", "synchronous", "threads"])
def test_tasks_run_graphs(client: Client, scheduler: str | None) -> None:
    assert client.submit(run_a_graph, scheduler).result(30) == 10


def test_graphs_of_tasks_run_on_the_cluster(client: Client) -> None:
    """The current client inside a task is that of its worker, so the graph's tasks become tasks of the cluster."""

    def keys() -> list[Any]:
        marked = delayed(inc)(1, dask_key_name="marked-inside")
        follow = delayed(lambda x: list(get_client().who_has(["marked-inside"])))(marked)
        result: list[Any] = follow.compute(optimize_graph=False)
        return result

    assert client.submit(keys).result(30) == ["marked-inside"]


def test_tasks_run_graphs_in_processes(client: Client) -> None:
    assert client.submit(run_a_graph, "processes").result(30) == 10


def test_tasks_make_clients_of_their_own(client: Client) -> None:
    assert client.submit(start_a_cluster).result(30) == 2
    assert client.submit(connect, client.scheduler_address).result(30) == 2


@pytest.mark.parametrize("scheduler", ["threads", "processes", "synchronous"])
def test_tasks_of_one_machine_run_graphs(scheduler: str) -> None:
    assert delayed(run_a_graph)(None).compute(scheduler=scheduler) == 10


def test_the_configuration_comes_before_the_client(client: Client) -> None:
    pids = {worker["pid"] for worker in client.scheduler_info()["workers"].values()}
    mine = delayed(os.getpid)
    assert mine().compute() in pids
    with config.set(scheduler="threads"):
        assert mine().compute() == os.getpid()
        assert mine().compute(scheduler=client) in pids


# ---- notebooks ------------------------------------------------------------------------------------------------------


def run_cells(*sources: str) -> list[str]:
    """Execute cells in a kernel of their own; what the last expression of each looks like."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(notebook, timeout=40, kernel_name="python3").execute()
    shown = []
    for cell in notebook.cells:
        results = [output.data["text/plain"] for output in cell.outputs if output.output_type == "execute_result"]
        shown.append("".join(results))
    return shown


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_cells() -> None:
    """A kernel has a running loop in every cell, and its functions live in ``__main__``."""
    shown = run_cells(
        "import asyncio, os\nfrom myscheduler import *\nasyncio.get_running_loop().is_running()",
        "def f(x): return 10 * x",
        "client = Client(n_workers=1, dashboard_address=None)\nclient.submit(f, 1).result()",
        "def f(x): return 20 * x",
        "client.submit(f, 1).result()",
        "await client.submit(f, 2)",
        "delayed(f)(3).compute()",
        "delayed(f)(4).compute(scheduler='processes')",
        "delayed(lambda: get_client().submit(f, 5).result())().compute()",
        "progress(client.submit(f, 6))\nclient.close()",
        "client = await Client(processes=False, asynchronous=True, dashboard_address=None)",
        "await client.submit(f, 7)",
        "await client.gather(client.map(f, range(3)))",
        "await client.close()",
        "delayed(f)(8).compute(scheduler='threads')",
    )
    assert shown == ["True", "", "10", "", "20", "40", "60", "80", "100", "", "", "140", "[0, 20, 40]", "", "160"]
