from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from myscheduler.base import config
from myscheduler.base.config import CONFIGURED, get, refresh
from myscheduler.base.errors import UsageError

WAIT = 20


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """No configuration but this folder's."""
    monkeypatch.setattr(config, "FOLDERS", (str(tmp_path / "first"), str(tmp_path / "second")))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    refresh()
    yield tmp_path
    monkeypatch.undo()
    refresh()


def elsewhere(key: str) -> Any:
    """What another thread sees."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(get, key).result(WAIT)


# ---- sources --------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    assert get("scheduler") is None
    assert get("scheduler", "sync") == "sync"
    assert get("local-cluster.memory-limit") == "auto"
    assert get("local-cluster") == {
        "n-workers": None,
        "threads-per-worker": None,
        "memory-limit": "auto",
        "dashboard-address": ":8787",
    }
    assert repr(CONFIGURED) == "<as configured>"


def test_stronger_sources_win(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "first" / "b.yaml").write_text("num-workers: 1\nscheduler: sync\n")
    (folder / "first" / "c.yml").write_text("num_workers: 2\n")
    assert get("num-workers") is None
    refresh()
    assert get("num-workers") == 2
    (folder / "second" / "a.yaml").write_text("num-workers: 3\nlocal_cluster: {n_workers: 7}\n")
    refresh()
    assert get("num-workers") == 3
    (folder / "own.yaml").write_text("num-workers: 4\n")
    monkeypatch.setenv("MYSCHEDULER_CONFIG", str(folder / "own.yaml"))
    refresh()
    assert get("num-workers") == 4
    monkeypatch.setenv("MYSCHEDULER__NUM_WORKERS", "5")
    assert get("num-workers") == 5
    config.set(num_workers=6)
    assert get("num-workers") == 6
    with config.set({"num-workers": 7}):
        assert get("num_workers") == 7
    assert get("num-workers") == 6
    refresh()
    assert get("num-workers") == 5
    assert get("scheduler") == "sync"
    assert get("local-cluster.n-workers") == 7


def test_a_folder_of_ones_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own").mkdir()
    (folder / "own" / "a.yaml").write_text("scheduler: sync\n")
    (folder / "own" / "empty.yaml").write_text("# nothing yet\n")
    monkeypatch.setenv("MYSCHEDULER_CONFIG", str(folder / "own"))
    refresh()
    assert config.lookup("scheduler") == ("sync", str(folder / "own" / "a.yaml"), config.FILE)


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("NUM_WORKERS", "2", "num-workers", 2),
        ("NUM_WORKERS", "null", "num-workers", None),
        ("SCHEDULER", "threads", "scheduler", "threads"),
        ("SCHEDULER_ADDRESS", "8786", "scheduler-address", "8786"),
        ("SCHEDULER_ADDRESS", "[::1]:1", "scheduler-address", "[::1]:1"),
        ("LOCAL_CLUSTER__N_WORKERS", "2", "local-cluster.n-workers", 2),
        ("LOCAL_CLUSTER__DASHBOARD_ADDRESS", ":0", "local-cluster.dashboard-address", ":0"),
        ("LOCAL_CLUSTER__MEMORY_LIMIT", "2 GiB", "local-cluster.memory-limit", "2 GiB"),
        ("LOCAL_CLUSTER__MEMORY_LIMIT", "0.5", "local-cluster.memory-limit", 0.5),
    ],
)
def test_values_of_variables(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, key: str, value: object
) -> None:
    monkeypatch.setenv(f"MYSCHEDULER__{variable}", text)
    assert get(key) == value
    monkeypatch.delenv(f"MYSCHEDULER__{variable}")
    assert config.lookup(key).strength == config.DEFAULT


def test_yaml_is_not_imported_where_there_is_none() -> None:
    code = "import sys; from myscheduler import config; config.get('scheduler'); print('yaml' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=WAIT)
    assert result.stdout == "False\n"


# ---- set ------------------------------------------------------------------------------------------------------------


def test_a_call_is_for_the_whole_process() -> None:
    config.set(num_workers=1)
    assert get("num-workers") == elsewhere("num-workers") == 1
    config.set({"local-cluster": {"n-workers": 1}}, local_cluster__threads_per_worker=2)
    assert elsewhere("local-cluster.n-workers") == 1
    assert elsewhere("local-cluster.threads-per-worker") == 2
    assert get("local-cluster.memory-limit") == "auto"


def test_a_call_whose_value_is_kept() -> None:
    change = config.set(num_workers=1)
    assert get("num-workers") == elsewhere("num-workers") == 1
    another = config.set(num_workers=2)
    assert repr(another) == "<config.set(num-workers=2)>"
    assert elsewhere("num-workers") == 2
    assert repr(change) == "<config.set(num-workers=1)>"
    assert get("num-workers") == 2


def test_a_block_is_for_this_thread() -> None:
    with config.set(num_workers=1):
        assert (get("num-workers"), elsewhere("num-workers")) == (1, None)
        with config.set(num_workers=2), config.set(scheduler="sync"):
            assert (get("num-workers"), get("scheduler")) == (2, "sync")
        assert (get("num-workers"), get("scheduler")) == (1, None)
    assert get("num-workers") is None


def test_a_block_is_undone_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), config.set(num_workers=1):
        _ = 1 / 0
    assert get("num-workers") is None


def test_a_block_ends_what_it_began_in_any_order() -> None:
    first, second = config.set(num_workers=1), ExitStack()
    first.__enter__()
    second.enter_context(config.set(num_workers=2))
    first.__exit__(None, None, None)
    assert get("num-workers") == 2
    second.close()
    assert get("num-workers") is None


def test_none_hides_weaker_sources() -> None:
    config.set(num_workers=1)
    with config.set(num_workers=None):
        assert get("num-workers", 5) is None


def test_blocks_travel_with_the_context() -> None:
    with config.set(num_workers=1), ThreadPoolExecutor(1) as pool:
        assert pool.submit(contextvars.copy_context().run, get, "num-workers").result(WAIT) == 1


async def test_tasks_of_asyncio_do_not_see_each_others_blocks() -> None:
    async def task(number: int) -> Any:
        with config.set(num_workers=number):
            await asyncio.sleep(0)
            return get("num-workers")

    assert await asyncio.gather(*map(task, range(1, 9))) == list(range(1, 9))
    assert get("num-workers") is None


def test_blocks_never_show_in_other_threads() -> None:
    """Not even between the call of ``set`` and the beginning of the block."""
    interval, barrier = sys.getswitchinterval(), threading.Barrier(4)

    def loop(number: int) -> set[Any]:
        barrier.wait(WAIT)
        seen = set()
        for _ in range(2000):
            with config.set(num_workers=number):
                seen.add(get("num-workers"))
        return seen

    def watch() -> set[Any]:
        barrier.wait(WAIT)
        return {get("num-workers") for _ in range(6000)}

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            loops = [pool.submit(loop, number) for number in (1, 2, 3)]
            assert pool.submit(watch).result(WAIT) == {None}
            assert [future.result(WAIT) for future in loops] == [{1}, {2}, {3}]
    finally:
        sys.setswitchinterval(interval)
    gc.collect()
    assert get("num-workers") is None


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "schedular: threads",
            r"there is no key 'schedular' \(did you mean 'scheduler', the name of a scheduler, or null .*\?\)",
        ),
        ("local-cluster: {workers: 2}", "there is no key 'local-cluster.workers'.*; known are scheduler, num-workers"),
        ("num-workers: many", r"num-workers must be a whole number of at least 1, or null, not 'many' \(str\)"),
        ("local-cluster: 2", r"local-cluster must be a section with the keys n-workers, .*, not 2 \(int\)"),
        ("local-cluster: {n-workers: 1.5}", r"local-cluster.n-workers must be a whole number of at least 0, .*not 1.5"),
        ("[1, 2]", r"must hold keys and values, such as `scheduler: threads`, not \[1, 2\] \(list\)"),
        ("a: b: c", "is no YAML: mapping values are not allowed here .*line 1, column 5"),
        ("a: 2001-99-99", "is no YAML: month must be in 1..12"),
        ("a: !!int ''", "is no YAML: string index out of range"),
        ("a: !!bool x", "is no YAML: 'x'"),
        ("[" * 500, "is no YAML: maximum recursion depth"),
        ("pool: threads", r"pool is an object, which only a program can set: config.set\(pool=...\)"),
        ("scheduler: !!python/object/apply:os.getpid []", "is no YAML: could not determine a constructor"),
    ],
)
def test_bad_files_are_named(folder: Path, text: str, message: str) -> None:
    path = folder / "first" / "bad.yaml"
    path.write_text(text)
    for _ in range(2):
        with pytest.raises(UsageError, match=f"{path}:? {message}"):
            refresh()
    path.unlink()
    refresh()
    assert get("scheduler") is None


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RuntimeError("no home directory")])
def test_folders_that_are_closed_to_us_hold_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    (folder / "first" / "a.yaml").write_text("num-workers: 3")
    expanduser = Path.expanduser

    def closed(path: Path) -> Path:
        if path.name == "second":
            raise error
        return expanduser(path)

    monkeypatch.setattr(Path, "expanduser", closed)
    refresh()
    assert get("num-workers") == 3


def test_files_that_are_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSCHEDULER_CONFIG", str(folder / "missing.yaml"))
    with pytest.raises(UsageError, match=r"MYSCHEDULER_CONFIG names .*missing.yaml, which does not exist"):
        refresh()
    (folder / "first" / "a.yaml").mkdir()
    with pytest.raises(UsageError, match=r"a.yaml cannot be read: Is a directory"):
        refresh()


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("MYSCHEDULER__SCHEDULR", "x", "there is no key 'schedulr'.*did you mean 'scheduler'"),
        ("MYSCHEDULER__scheduler", "x", "is written MYSCHEDULER__SCHEDULER"),
        ("MYSCHEDULER__NUM_WORKERS", "four", "num-workers must be a whole number of at least 1, or null, not 'four'"),
        ("MYSCHEDULER__NUM_WORKERS", "[", r"num-workers must be a whole number .*, not '\['"),
    ],
)
def test_bad_variables_are_named(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, message: str) -> None:
    monkeypatch.setenv(variable, text)

    def read() -> None:
        refresh()
        get("num-workers")

    with pytest.raises(UsageError, match=f"environment variable {variable}:? {message}"):
        read()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedular": "x"}, "config.set: there is no key 'schedular'"),
        (
            {"num-workers": "2"},
            r"config.set: num-workers must be a whole number of at least 1, or null, not '2' \(str\)",
        ),
        ({"pool": 3}, r"pool must be a concurrent.futures.Executor, a ProcessPool, or None, not 3 \(int\)"),
    ],
)
def test_bad_calls(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config.set(values)
    with pytest.raises(UsageError, match="there is no key 'schedular'"):
        get("schedular", None)
