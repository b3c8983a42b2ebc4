from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from myscheduler.base.errors import NotAResultError
from myscheduler.local.serving import check_result


def test_processes_that_run_tasks_import_little() -> None:
    """What they import is time that every call with processes waits for."""
    code = (
        "import sys, myscheduler.local.child; print(*[name for name in sys.modules if name.startswith('myscheduler.')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    parts = {name.split(".")[1] for name in result.stdout.split()}
    assert parts == {"base", "local", "protocol"}


async def _coroutine() -> None:
    pass


async def _agenerator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_coroutine, r"task 'x' returned a coroutine; .* asyncio.run\(...\) inside the task"),
        (_agenerator, "task 'x' returned an asynchronous generator"),
        (lambda: (i for i in ()), r"task 'x' returned a generator; return list\(...\) of it"),
    ],
)
def test_what_is_no_result(make: Any, message: str) -> None:
    with pytest.raises(NotAResultError, match=message):
        check_result("x", make())
