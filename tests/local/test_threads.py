from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from myscheduler.base import config
from myscheduler.base.errors import UsageError
from myscheduler.base.system import cpu_count
from myscheduler.graph.compute import compute
from myscheduler.graph.delayed import delayed
from myscheduler.local.threads import ThreadsScheduler

WAIT = 20


def inc(x: int) -> int:
    return x + 1


def test_tasks_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=WAIT)
    meet = delayed(barrier.wait)
    assert sorted(compute(*[meet() for _ in range(3)], scheduler="threads", num_workers=3)) == [0, 1, 2]


def test_no_more_than_num_workers_run_at_a_time() -> None:
    lock = threading.Lock()
    running = most = 0

    def task(i: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        sum(range(1000))
        with lock:
            running -= 1
        return i

    compute([delayed(task)(i) for i in range(200)], scheduler="threads", num_workers=2)
    assert 1 <= most <= 2


def test_members_who_left_are_called_back() -> None:
    """One task makes many ready, after a stretch with nothing to do for the others."""
    barrier = threading.Barrier(4, timeout=WAIT)
    chain: Any = delayed(inc)(0)
    for _ in range(20):
        chain = delayed(inc)(chain)
    meet = delayed(lambda _: barrier.wait())
    result = compute([meet(chain) for _ in range(4)], scheduler="threads", num_workers=4, optimize_graph=False)
    assert sorted(result[0]) == [0, 1, 2, 3]


def test_the_default_pool_is_kept() -> None:
    scheduler = ThreadsScheduler()
    names = {delayed(lambda: threading.current_thread().name)().compute(scheduler=scheduler) for _ in range(3)}
    assert len(names) <= cpu_count()
    assert all(name.startswith("myscheduler") for name in names)


def test_a_pool_of_ones_own() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
        name = delayed(lambda: threading.current_thread().name)
        assert name().compute(scheduler="threads", pool=pool).startswith("mine")
        assert name().compute(scheduler=pool).startswith("mine")


def test_a_pool_that_has_been_shut_down() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        delayed(inc)(1).compute(scheduler="threads", pool=pool)


def test_pools_that_will_not_do() -> None:
    with pytest.raises(UsageError, match=r"pool=3 is not a concurrent.futures.Executor"):
        delayed(inc)(1).compute(scheduler="threads", pool=3)
    with (
        ProcessPoolExecutor(1) as pool,
        pytest.raises(UsageError, match="cannot use a pool of processes; pass it as scheduler=pool instead"),
    ):
        delayed(inc)(1).compute(scheduler="threads", pool=pool)


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_may_compute_on_the_same_pool(workers: int) -> None:
    with ThreadPoolExecutor(workers) as pool:

        def nested(depth: int) -> int:
            if not depth:
                return 1
            return int(delayed(sum)([delayed(nested)(depth - 1) for _ in range(3)]).compute(scheduler=pool))

        assert delayed(nested)(4).compute(scheduler=pool) == 81


def test_a_thread_that_is_not_the_main_one_lends_a_hand() -> None:
    names: list[str] = []

    def ask() -> None:
        names.extend(compute(*[delayed(lambda: threading.current_thread().name)() for _ in range(5)], num_workers=1))

    thread = threading.Thread(target=ask, name="asking")
    thread.start()
    thread.join(WAIT)
    assert names == ["asking"] * 5


def test_context_variables_are_seen_by_tasks() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(5)
    assert delayed(variable.get)().compute(scheduler="threads") == 5


def test_after_an_error_nothing_new_begins() -> None:
    begun: list[int] = []

    def fail() -> None:
        raise ValueError("first")

    later: Any = delayed(fail)()
    for i in range(10):
        later = delayed(lambda x, i: begun.append(i))(later, i)
    with pytest.raises(ValueError, match="first"):
        later.compute(scheduler="threads", optimize_graph=False)
    assert begun == []


def test_a_fork_gets_threads_of_its_own() -> None:
    code = """if True:
        import os
        from myscheduler.graph.delayed import delayed
        from myscheduler.local.threads import ThreadsScheduler
        scheduler = ThreadsScheduler()
        node = delayed(abs)(-1)
        assert node.compute(scheduler=scheduler) == 1
        pid = os.fork()
        if not pid:
            os._exit(node.compute(scheduler=scheduler))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    """
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=WAIT)
    assert os.getpid()


def test_ctrl_c_reaches_whoever_waits() -> None:
    release, started = threading.Event(), threading.Event()
    begun: list[int] = []

    def task(i: int) -> None:
        begun.append(i)
        started.set()
        release.wait(WAIT)

    def interrupt() -> None:
        started.wait(WAIT)
        signal.raise_signal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else os.kill(
            os.getpid(), signal.SIGINT
        )

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            compute([delayed(task)(i) for i in range(10)], scheduler="threads", num_workers=1)
    finally:
        release.set()
        interrupter.join(WAIT)
    assert begun == [0]


def test_configured_pools_and_blocks_reach_the_tasks() -> None:
    def task() -> tuple[str, int | None]:
        return threading.current_thread().name, config.get("num-workers")

    with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool, config.set(pool=pool, num_workers=7):
        name, workers = delayed(task)().compute(scheduler="threads")
    assert name.startswith("mine")
    assert workers == 7
