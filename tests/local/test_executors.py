from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.graph.delayed import delayed
from myscheduler.local.executors import ExecutorScheduler, as_scheduler
from myscheduler.local.threads import ThreadsScheduler


class Counting(Executor):
    """Runs one at a time, and counts."""

    _max_workers = 2

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, func: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        future: Future[Any] = Future()
        future.set_result(func(*args, **kwargs))
        return future


def test_executors_of_threads_run_tasks_in_this_process() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(as_scheduler(pool), ThreadsScheduler)


def test_others_get_bytes() -> None:
    executor = Counting()
    scheduler = as_scheduler(executor)
    assert isinstance(scheduler, ExecutorScheduler)
    total = delayed(sum)([delayed(abs)(-i) for i in range(10)])
    assert total.compute(scheduler=executor) == 45
    assert executor.submitted == 11
    assert total.compute(scheduler=executor, num_workers=1) == 45
    assert total.compute(scheduler="processes", pool=executor) == 45
    with pytest.raises(UsageError, match="num_workers=0 is not a number of workers"):
        total.compute(scheduler=executor, num_workers=0)


SCRIPT = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from myscheduler.graph.delayed import delayed
from myscheduler.local import register_all
register_all()

def double(x): return 2 * x

def main():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        print(delayed(double)(delayed(sum)([delayed(double)(i) for i in range(5)])).compute(scheduler=executor))
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_process_pools_of_the_standard_library(tmp_path: Path, guarded: bool) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT + ("if __name__ == '__main__':\n    main()\n" if guarded else "main()\n"))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60)
    if guarded:
        assert (done.stdout, done.stderr) == ("40\n", "")
    else:
        assert "needs `if __name__ == '__main__':` around what it runs" in done.stderr
