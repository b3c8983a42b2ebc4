from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from myscheduler.base.errors import ClosedError, KilledWorkerError, UsageError
from myscheduler.graph.compute import compute
from myscheduler.graph.delayed import delayed
from myscheduler.local.processes import ProcessPool

WAIT = 30


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(2) as pool:
        yield pool


def test_tasks_run_elsewhere(pool: ProcessPool) -> None:
    pids = set(compute(*[delayed(os.getpid)() for _ in range(50)], scheduler="processes", pool=pool))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


def test_processes_end_with_the_call() -> None:
    (pids,) = compute([delayed(os.getpid)() for _ in range(4)], scheduler="processes", num_workers=2)
    assert all(not psutil.pid_exists(pid) for pid in pids)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            r"process \d+ was killed by signal 9 \(SIGKILL\), as the system does",
        ),
        (
            lambda: os.kill(os.getpid(), signal.SIGSEGV),
            r"was killed by signal 11 \(SIGSEGV\) while it ran task 'fatal'",
        ),
        (lambda: os._exit(3), r"process \d+ ended with exit code 3 while it ran task 'fatal'; its result is lost"),
    ],
)
def test_a_process_that_dies_is_an_error_and_the_pool_lives_on(pool: ProcessPool, how: Any, message: str) -> None:
    with pytest.raises(KilledWorkerError, match=message):
        delayed(how)(dask_key_name="fatal").compute(scheduler="processes", pool=pool)
    assert delayed(abs)(-1).compute(scheduler="processes", pool=pool) == 1


def test_what_a_task_prints_is_printed(pool: ProcessPool, capfd: pytest.CaptureFixture[str]) -> None:
    with ProcessPool(1) as fresh:
        delayed(lambda: print("hello", flush=True))().compute(scheduler="processes", pool=fresh)
    assert capfd.readouterr().out == "hello\n"


def test_strings_hash_to_the_same_in_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    hashes = {delayed(hash)("a").compute(scheduler="processes", num_workers=1) for _ in range(2)}
    assert len(hashes) == 1


def test_modules_are_found_as_they_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_this_test.py").write_text("def f():\n    return __file__\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import module_of_this_test  # type: ignore[import-not-found]

    path = delayed(module_of_this_test.f)().compute(scheduler="processes", num_workers=1)
    assert path == str(tmp_path / "module_of_this_test.py")


def test_pools(pool: ProcessPool) -> None:
    closed = ProcessPool(1)
    closed.close()
    closed.close()
    with pytest.raises(ClosedError, match="the pool of processes has been closed"):
        delayed(abs)(1).compute(scheduler="processes", pool=closed)
    with pytest.raises(UsageError, match="pool=5 is neither a ProcessPool nor a concurrent.futures.Executor"):
        delayed(abs)(1).compute(scheduler="processes", pool=5)


def test_an_error_does_not_wait_for_the_others() -> None:
    def wait_for_ever(started: str) -> None:
        Path(started).touch()
        threading.Event().wait(WAIT * 10)

    def fail(started: str) -> None:
        deadline = time.monotonic() + WAIT
        while not Path(started).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        raise ValueError("now")

    started = f"/tmp/myscheduler-test-{os.getpid()}-{time.monotonic_ns()}"
    before = time.monotonic()
    with pytest.raises(ValueError, match="now"):
        compute(delayed(wait_for_ever)(started), delayed(fail)(started), scheduler="processes", num_workers=2)
    Path(started).unlink()
    assert time.monotonic() - before < WAIT


def run_script(path: Path, code: str) -> subprocess.CompletedProcess[str]:
    path.write_text(code)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60)


SCRIPT = """
from myscheduler.graph.compute import compute
from myscheduler.graph.delayed import delayed
from myscheduler.local import register_all
register_all()

class Point:
    def __init__(self, x): self.x = x

SCALE = 3
def double(point): return Point(point.x * SCALE)
"""


def test_scripts_need_no_guard(tmp_path: Path) -> None:
    script = SCRIPT + (
        "(point,) = compute(delayed(double)(Point(2)), scheduler='processes', num_workers=2)\n"
        "print(type(point) is Point, point.x)\n"
    )
    done = run_script(tmp_path / "script.py", script)
    assert (done.stdout, done.stderr) == ("True 6\n", "")


def test_ctrl_c_ends_it_all(tmp_path: Path) -> None:
    script = SCRIPT + (
        "import os, threading\n"
        "def wait():\n"
        "    print(os.getpid(), flush=True)\n"
        "    threading.Event().wait(600)\n"
        "delayed(wait)().compute(scheduler='processes', num_workers=1)\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    process = subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=WAIT)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "KilledWorkerError" not in errors
    _, alive = psutil.wait_procs([child], timeout=WAIT)
    assert alive == []
