"""What all schedulers of one machine must do, each of them."""

from __future__ import annotations

import gc
import operator
import os
import traceback
import weakref
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from myscheduler.base.errors import NotAResultError, UsageError
from myscheduler.graph.compute import compute, persist
from myscheduler.graph.delayed import Delayed, delayed
from myscheduler.graph.schedulers import Scheduler, resolve
from myscheduler.graph.task import Graph, Task
from myscheduler.local.processes import ProcessPool


class WithOptions:
    """A scheduler with options filled in."""

    def __init__(self, scheduler: Scheduler, **options: Any) -> None:
        self.scheduler, self.options = scheduler, options

    def compute(self, graph: Graph, keys: Any, **options: Any) -> list[Any]:
        return self.scheduler.compute(graph, keys, **self.options, **options)

    def persist(self, graph: Graph, keys: Any, **options: Any) -> Any:
        return self.scheduler.persist(graph, keys, **self.options, **options)


class Inline(Executor):
    """Somebody's executor, as far as we can see it."""

    def submit(self, func: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(func(*args, **kwargs))
        return future


NAMES = ["synchronous", "threads", "one-thread", "pool", "processes", "executor"]


@pytest.fixture(scope="module")
def all_schedulers() -> Iterator[dict[str, Any]]:
    with ProcessPool(2) as processes, ThreadPoolExecutor(3) as threads, Inline() as executor:
        yield {
            "synchronous": resolve("synchronous"),
            "threads": WithOptions(resolve("threads"), num_workers=4),
            "one-thread": WithOptions(resolve("threads"), num_workers=1),
            "pool": resolve(threads),
            "processes": WithOptions(resolve("processes"), pool=processes),
            "executor": resolve(executor),
        }


@pytest.fixture(params=NAMES)
def scheduler(request: pytest.FixtureRequest, all_schedulers: dict[str, Any]) -> Any:
    return all_schedulers[request.param]


class CodeError(Exception):
    def __init__(self, code: int, *, detail: str = "") -> None:
        super().__init__(f"code {code}")
        self.code = code


def fail(code: int) -> None:
    raise CodeError(code)


def inc(x: int) -> int:
    return x + 1


def test_values(scheduler: Any) -> None:
    xs = [delayed(inc)(i) for i in range(20)]
    total = delayed(sum)(xs)
    assert compute(total, {"xs": xs[:3]}, total * 2, scheduler=scheduler) == (210, {"xs": [1, 2, 3]}, 420)


def test_lambdas_closures_and_large_values(scheduler: Any) -> None:
    numpy = pytest.importorskip("numpy")
    factor = 3
    array = delayed(numpy.arange)(300_000)
    scaled = delayed(lambda x: x * factor)(array)
    first, total = compute(scaled[:3], scaled.sum(), scheduler=scheduler)
    assert first.tolist() == [0, 3, 6]
    assert total == 3 * 300_000 * 299_999 // 2


def test_dependencies_at_any_depth(scheduler: Any) -> None:
    x = delayed(inc)(0)
    node = delayed(lambda *args, **kwargs: (args, kwargs))([x, {"a": (x,)}], k={x})
    assert node.compute(scheduler=scheduler) == (([1, {"a": (1,)}],), {"k": {1}})


def test_the_error_of_a_task_is_raised_with_its_traceback(scheduler: Any) -> None:
    node = delayed(inc)(delayed(fail)(7))
    with pytest.raises(CodeError, match="code 7") as caught:
        node.compute(scheduler=scheduler)
    assert caught.value.code == 7
    text = "".join(traceback.format_exception(caught.value))
    assert "in fail" in text
    assert "raise CodeError(code)" in text


def test_it_works_after_an_error(scheduler: Any) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            compute([delayed(operator.truediv)(1, 0), *[delayed(inc)(i) for i in range(10)]], scheduler=scheduler)
        assert compute([delayed(inc)(i) for i in range(10)], scheduler=scheduler) == (list(range(1, 11)),)


def test_even_exits_are_only_errors_of_tasks(scheduler: Any) -> None:
    with pytest.raises(SystemExit):
        delayed(exit)(3).compute(scheduler=scheduler)


def test_generators_are_no_results(scheduler: Any) -> None:
    with pytest.raises(NotAResultError, match="task 'g' returned a generator"):
        delayed(lambda: (i for i in range(3)))(dask_key_name="g").compute(scheduler=scheduler)


def test_persist(scheduler: Any) -> None:
    (kept,) = persist([delayed(os.getpid)()], scheduler=scheduler)
    assert kept[0].compute(scheduler=scheduler) == kept[0].compute(scheduler="sync")


def test_no_keys(scheduler: Any) -> None:
    assert scheduler.compute({"x": Task(inc, (1,))}, []) == []
    assert scheduler.compute({"x": Task(inc, (1,))}, ["x", "x"]) == [2, 2]


def test_unknown_options_are_refused(scheduler: Any) -> None:
    with pytest.raises(UsageError, match="has no option 'num_wrokers'"):
        scheduler.compute({"x": Task(inc, (1,))}, ["x"], num_wrokers=2)
    assert scheduler.compute({"x": Task(inc, (1,))}, ["x"], priority=2) == [2]


def test_long_chains(scheduler: Any) -> None:
    step = delayed(inc)
    node = step(0)
    for _ in range(3000):
        node = step(node)
    assert node.compute(scheduler=scheduler) == 3001
    assert node.compute(scheduler="sync", optimize_graph=False) == 3001


class Token:
    """Something whose death can be watched."""


@pytest.mark.parametrize("name", ["synchronous", "threads"])
def test_results_die_as_early_as_they_can(name: str, all_schedulers: dict[str, Any]) -> None:
    alive: list[weakref.ref[Token]] = []
    most = 0

    def make(*_: Any) -> Token:
        nonlocal most
        token = Token()
        alive[:] = [ref for ref in alive if ref() is not None]
        alive.append(weakref.ref(token))
        most = max(most, len(alive))
        return token

    node: Delayed[Any] = delayed(make)()
    for _ in range(50):
        node = delayed(make)(node)
    compute(node, scheduler=all_schedulers[name], optimize_graph=False)
    assert most <= 3
    most = 0
    compute(node, scheduler=all_schedulers[name], optimize_graph=True)
    assert most <= 3
    gc.collect()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=st.lists(st.tuples(st.integers(-5, 5), st.lists(st.integers(0, 20), max_size=4)), min_size=1, max_size=25),
    wanted=st.lists(st.integers(0, 24), min_size=1, max_size=4),
    optimize=st.booleans(),
)
def test_all_agree_with_plain_evaluation(
    all_schedulers: dict[str, Any], drawn: list[tuple[int, list[int]]], wanted: list[int], optimize: bool
) -> None:
    values: list[int] = []
    nodes: list[Delayed[int]] = []
    for number, (own, inputs) in enumerate(drawn):
        inputs = [node % number for node in inputs] if number else []
        values.append(own + sum(values[node] for node in inputs))
        nodes.append(delayed(lambda own, inputs: own + sum(inputs))(own, [nodes[node] for node in inputs]))
    wanted = [number % len(drawn) for number in wanted]
    expected = [values[number] for number in wanted]
    for name in NAMES:
        (result,) = compute(
            [nodes[number] for number in wanted], scheduler=all_schedulers[name], optimize_graph=optimize
        )
        assert result == expected, name
