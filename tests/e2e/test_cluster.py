"""The main job on real clusters: submit, gather, graphs, errors, data of any size."""

from __future__ import annotations

import asyncio
import operator
import threading
from typing import Any

import numpy as np
import pytest

import myscheduler
from myscheduler import (
    CancelledError,
    Client,
    KeyTypeError,
    NotAResultError,
    SerializationError,
    as_completed,
    compute,
    delayed,
    wait,
)


def inc(x: int) -> int:
    return x + 1


def boom(x: object) -> None:
    raise ValueError(f"bad {x}")


async def double_later(x: int) -> int:
    await asyncio.sleep(0.01)
    return 2 * x


def numbers() -> Any:
    yield 1


# ---- tasks ----------------------------------------------------------------------------------------------------------


def test_map_and_gather(client: Client) -> None:
    assert client.gather(client.map(inc, range(2000))) == list(range(1, 2001))


def test_futures_at_any_depth_are_dependencies(client: Client) -> None:
    futures = [client.submit(inc, i) for i in range(5)]
    nested = {"a": [futures[0], (futures[1],)], "b": {"c": futures[2:]}}
    result = client.submit(lambda d: d["a"][0] + d["a"][1][0] + sum(d["b"]["c"]), nested).result()
    assert result == 15


def test_lambdas_and_closures_travel(client: Client) -> None:
    offset = 10
    assert client.submit(lambda x: x + offset, 1).result() == 11


def test_coroutine_functions_run_side_by_side(client: Client) -> None:
    assert client.gather(client.map(double_later, range(50))) == [2 * i for i in range(50)]


def test_errors_are_raised_with_the_remote_traceback(client: Client) -> None:
    future = client.submit(inc, client.submit(boom, 7))
    with pytest.raises(ValueError, match="bad 7") as caught:
        future.result()
    assert "in boom" in str(caught.value.__cause__)
    assert future.status == "error"
    assert isinstance(future.exception(), ValueError)


def test_retries_hide_errors_that_go_away(client: Client) -> None:
    counter = client.submit(list, [])

    def flaky(_: object, state: dict[str, int] = {}) -> int:  # noqa: B006  # remembers on the worker
        import myscheduler

        worker = myscheduler.get_worker()
        tries = getattr(worker, "_tries_of_test", 0) + 1
        worker._tries_of_test = tries  # type: ignore[attr-defined]
        if tries < 3:
            raise RuntimeError("not yet")
        return tries

    name = next(iter(client.scheduler_info()["workers"].values()))["name"]
    assert client.submit(flaky, counter, retries=5, workers=[name]).result() == 3


@pytest.mark.parametrize(
    ("function", "words"),
    [(numbers, "returned a generator"), (lambda: double_later(1), "returned a coroutine")],
    ids=["generator", "coroutine"],
)
def test_results_that_are_no_values_are_refused(client: Client, function: Any, words: str) -> None:
    with pytest.raises(NotAResultError, match=words):
        client.submit(function).result()


def test_arguments_that_cannot_be_pickled_are_named(client: Client) -> None:
    with pytest.raises(SerializationError, match="argument 1 of task 'inc' cannot be pickled"):
        client.submit(inc, threading.Lock())


def test_results_that_cannot_be_pickled_are_named(client: Client) -> None:
    with pytest.raises(
        SerializationError, match="the result of task 'lock.*' cannot be pickled|a _thread.lock, cannot"
    ):
        client.submit(lambda: threading.Lock(), key="lock-1").result()


def test_keys_of_the_wrong_type_are_named(client: Client) -> None:
    with pytest.raises(KeyTypeError, match="is a list"):
        client.submit(inc, 1, key=["a"])  # type: ignore[arg-type]


def test_cancelling_is_seen_at_once_by_dependents_too(client: Client) -> None:
    started = client.submit(inc, 1, workers=["nowhere"])
    dependent = client.submit(inc, started)
    client.cancel(started)
    for future in (started, dependent):
        with pytest.raises(CancelledError):
            future.result(timeout=5)


def test_a_timeout_names_the_future(client: Client) -> None:
    future = client.submit(inc, 1, workers=["nowhere"], key="stuck-1")
    with pytest.raises(TimeoutError, match="stuck-1"):
        future.result(timeout=0.05)


def test_wait_and_as_completed(client: Client) -> None:
    futures = client.map(inc, range(20))
    assert wait(futures, timeout=10).not_done == set()
    assert sorted(future.result() for future in as_completed(futures)) == list(range(1, 21))


def test_tasks_submit_tasks_without_running_out_of_threads(client: Client) -> None:
    def parent(depth: int) -> int:
        if depth == 0:
            return 1
        client = myscheduler.get_client()
        return sum(client.gather([client.submit(parent, depth - 1) for _ in range(2)]))

    assert client.submit(parent, 3).result(timeout=30) == 8


# ---- graphs ---------------------------------------------------------------------------------------------------------


def test_delayed_runs_on_the_newest_client(client: Client) -> None:
    values = [delayed(inc)(i) for i in range(20)]
    total, largest = compute(delayed(sum)(values), delayed(max)(values))
    assert (total, largest) == (210, 20)


def test_persisted_graphs_are_used_from_where_they_are(client: Client) -> None:
    base = delayed(inc)(1).persist()
    assert (base * 10).compute() == 20


def test_plain_graphs(client: Client) -> None:
    graph = {"x": 1, "y": (inc, "x"), ("z", 0): (sum, ["x", "y"])}
    assert client.get(graph, [("z", 0), "y"]) == [3, 2]


def test_a_deep_chain_of_single_submits(client: Client) -> None:
    future = client.submit(inc, 0)
    for _ in range(500):
        future = client.submit(inc, future)
    assert future.result(timeout=30) == 501


def test_a_tree(client: Client) -> None:
    level = client.map(inc, range(256))
    while len(level) > 1:
        level = client.map(operator.add, level[::2], level[1::2])
    assert level[0].result(timeout=30) == sum(range(1, 257))


# ---- data -----------------------------------------------------------------------------------------------------------


def test_large_arrays_go_in_and_out(client: Client) -> None:
    array = np.arange(3_000_000, dtype="f8")
    doubled = client.submit(lambda a: a * 2, array).result()
    np.testing.assert_array_equal(doubled, array * 2)


def test_workers_fetch_large_inputs_from_each_other(client: Client) -> None:
    names = [info["name"] for info in client.scheduler_info()["workers"].values()]
    parts = [client.submit(np.full, 1_000_000, i, workers=[name], pure=False) for i, name in enumerate(names)]
    assert client.submit(lambda a, b: float((a + b).sum()), *parts).result() == 1_000_000.0
    assert len(client.who_has(parts)) == 2


def test_scattered_data(client: Client) -> None:
    [left, right] = client.scatter([np.ones(10), np.zeros(10)])
    assert client.submit(lambda a, b: float(a.sum() + b.sum()), left, right).result() == 10.0
    named = client.scatter({"alpha": 1, "beta": 2})
    assert client.gather(named) == {"alpha": 1, "beta": 2}
    everywhere = client.scatter(b"data", broadcast=True)
    assert len(client.who_has([everywhere])[everywhere.key]) == 2


def test_released_results_are_forgotten_everywhere(client: Client) -> None:
    futures = client.map(inc, range(100))
    wait(futures)
    keys = [future.key for future in futures]
    del futures
    deadline = 200
    while any(client.who_has(keys).values()) and deadline:
        deadline -= 1
    assert deadline
    assert not any(client.who_has(keys).values())


# ---- parts of results -----------------------------------------------------------------------------------------------


def split(number: int, width: int, nbytes: int) -> list[bytes]:
    return [bytes([number, part]) * (nbytes // 2) for part in range(width)]


def merge(parts: list[bytes]) -> tuple[int, bytes]:
    return sum(map(len, parts)), b"".join(part[:2] for part in parts)


@pytest.mark.parametrize("nbytes", [2, 20_000])
def test_all_to_all(client: Client, nbytes: int) -> None:
    width = 12
    graph: dict[Any, Any] = {("rows", nbytes, n): (split, n, width, nbytes) for n in range(width)}
    for i in range(width):
        parts = [("part", nbytes, n, i) for n in range(width)]
        graph |= {part: (operator.getitem, ("rows", nbytes, n), i) for n, part in enumerate(parts)}
        graph["merged", nbytes, i] = (merge, parts)
    found = client.get(graph, [("merged", nbytes, i) for i in range(width)])
    assert found == [(width * nbytes, b"".join(bytes([n, i]) for n in range(width))) for i in range(width)]


def test_a_part_that_is_not_there_is_an_error_of_the_task_that_needs_it(client: Client) -> None:
    graph: dict[str, Any] = {"rows": (split, 0, 9, 2)}
    graph |= {f"part-{i}": (operator.getitem, "rows", i + 1) for i in range(9)}
    graph |= {f"merged-{i}": (merge, [f"part-{i}"]) for i in range(9)}
    futures = client.get(graph, [f"merged-{i}" for i in range(9)], sync=False)
    assert client.gather(futures[:8]) == [(2, bytes([0, i + 1])) for i in range(8)]
    with pytest.raises(IndexError, match="list index out of range"):
        futures[8].result()
