from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from myscheduler.base.keys import Key
from myscheduler.graph.compute import compute
from myscheduler.graph.delayed import Delayed, delayed
from myscheduler.graph.schedulers import resolve
from myscheduler.local.callbacks import Callback, State
from myscheduler.local.processes import ProcessPool

WAIT = 20


class Recorder(Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[Any, ...]] = []

    def _start(self, graph: Any) -> None:
        self.events.append(("start", len(graph)))

    def _start_state(self, graph: Any, state: State) -> None:
        self.events.append(("state", {name: len(keys) for name, keys in state.items()}, state.done, state.total))

    def _pretask(self, key: Key, graph: Any, state: State) -> None:
        assert key in state["running"]
        self.events.append(("pre", key))

    def _posttask(self, key: Key, result: Any, graph: Any, state: State, worker_id: int) -> None:
        assert key in state["finished"]
        self.events.append(("post", key, result, worker_id > 0))

    def _finish(self, graph: Any, state: State | None, errored: bool) -> None:
        self.events.append(("finish", None if state is None else (state.done, state.total), errored))


class Inline(Executor):
    def submit(self, func: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(func(*args, **kwargs))
        return future


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(1) as pool:
        yield pool


@pytest.fixture(params=["synchronous", "threads", "processes", "executor"])
def how(request: pytest.FixtureRequest, pool: ProcessPool) -> dict[str, Any]:
    options: dict[str, dict[str, Any]] = {
        "synchronous": {"scheduler": "synchronous"},
        "threads": {"scheduler": "threads", "num_workers": 1},
        "processes": {"scheduler": "processes", "pool": pool},
        "executor": {"scheduler": Inline(), "num_workers": 1},
    }
    return options[request.param]


def inc(x: int) -> int:
    return x + 1


def chain() -> Delayed[int]:
    return delayed(inc)(delayed(inc)(0, dask_key_name="a"), dask_key_name="b")


def test_what_is_told(how: dict[str, Any]) -> None:
    with Recorder() as recorder:
        assert chain().compute(**how, optimize_graph=False) == 2
    assert recorder.events == [
        ("start", 2),
        ("state", {"waiting": 1, "ready": 1, "running": 0, "finished": 0}, 0, 2),
        ("pre", "a"),
        ("post", "a", 1, True),
        ("pre", "b"),
        ("post", "b", 2, True),
        ("finish", (2, 2), False),
    ]
    assert chain().compute(**how) == 2
    assert len(recorder.events) == 7


def test_errors_are_told(how: dict[str, Any]) -> None:
    with Recorder() as recorder, pytest.raises(ZeroDivisionError):
        delayed(inc)(delayed(lambda: 1 / 0)()).compute(**how, optimize_graph=False)
    assert recorder.events[-1] == ("finish", (0, 2), True)


def test_graphs_that_are_not_fit_to_run(how: dict[str, Any]) -> None:
    with Recorder() as recorder, pytest.raises(ValueError, match="'x' is wanted but not in the graph"):
        resolve(how["scheduler"]).compute({}, ["x"])
    assert recorder.events == [("start", 0), ("finish", None, True)]


@pytest.mark.parametrize("name", ["start", "start_state", "pretask", "posttask", "finish"])
def test_what_a_callback_raises_ends_the_run(how: dict[str, Any], name: str) -> None:
    def fail(*_: Any) -> None:
        raise LookupError(name)

    named: dict[str, Any] = {name: fail}
    with Recorder() as recorder, Callback(**named), pytest.raises(LookupError, match=name):
        chain().compute(**how)
    assert recorder.events[-1][0] == "finish"
    assert chain().compute(**how) == 2


def test_registered_ones_watch_every_thread() -> None:
    recorder = Recorder()
    recorder.register()
    try:
        thread = threading.Thread(target=lambda: chain().compute(scheduler="sync"))
        thread.start()
        thread.join(WAIT)
        with recorder:  # told once
            chain().compute(scheduler="sync")
    finally:
        recorder.unregister()
        recorder.unregister()
    chain().compute(scheduler="sync")
    assert [event[0] for event in recorder.events].count("start") == 2


def test_blocks_are_for_this_thread() -> None:
    with Recorder() as recorder:
        thread = threading.Thread(target=lambda: chain().compute(scheduler="sync"))
        thread.start()
        thread.join(WAIT)
    assert recorder.events == []


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_graphs_inside_of_tasks_are_not_told(scheduler: str) -> None:
    inner = Recorder()

    def task() -> int:
        with inner:
            return chain().compute(scheduler="synchronous")

    with Recorder() as outer:
        outer.register()
        try:
            node = delayed(sum)([delayed(lambda: chain().compute(scheduler=scheduler))(), delayed(task)()])
            assert node.compute(scheduler=scheduler) == 4
        finally:
            outer.unregister()
    assert [event[0] for event in outer.events].count("start") == 1
    assert [event[0] for event in inner.events].count("start") == 1


def test_callbacks_are_called_one_at_a_time() -> None:
    inside, most = 0, 0

    def told(*_: Any) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        sum(range(1000))
        inside -= 1

    with Callback(pretask=told, posttask=told):
        compute([delayed(inc)(i) for i in range(200)], scheduler="threads", num_workers=4)
    assert most == 1


def test_states_are_mappings() -> None:
    with Callback(start_state=lambda graph, state: states.append(state)):
        states: list[State] = []
        chain().compute(scheduler="sync", optimize_graph=False)
    (state,) = states
    assert list(state) == ["waiting", "ready", "running", "finished"]
    assert len(state) == 4
    assert state["finished"] == {"a", "b"}
    with pytest.raises(KeyError):
        state["released"]
