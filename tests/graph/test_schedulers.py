from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from myscheduler.base import config
from myscheduler.base.errors import UsageError
from myscheduler.graph import schedulers
from myscheduler.graph.schedulers import Scheduler, provide_current, register, register_type, resolve


class Fake:
    def compute(self, graph: Any, keys: Any, **options: Any) -> list[Any]:
        return []

    def persist(self, graph: Any, keys: Any, **options: Any) -> dict[Any, Any]:
        return {}


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_loaders", "_loaded"):
        monkeypatch.setattr(schedulers, name, dict(getattr(schedulers, name)))
    monkeypatch.setattr(schedulers, "_adapters", list(schedulers._adapters))
    monkeypatch.setattr(schedulers, "_find_current", None)


def test_names_are_loaded_once_and_know_no_case() -> None:
    made: list[Fake] = []

    def load() -> Scheduler:
        made.append(Fake())
        return made[-1]

    register("Fake", load)
    assert made == []
    assert resolve("fake") is resolve("FAKE") is made[0]
    assert len(made) == 1
    register("fake", load)
    assert resolve("fake") is made[0]
    register("fake", lambda: load())
    assert resolve("fake") is made[1]


def test_the_order_of_choice() -> None:
    """Argument of the call, configuration, current client, default."""
    client, configured, argument = Fake(), Fake(), Fake()
    assert resolve() is resolve("threads")
    provide_current(lambda: None)
    assert resolve() is resolve("threads")
    provide_current(lambda: client)
    assert resolve() is client
    with config.set(scheduler=configured):
        assert resolve() is configured
        assert resolve(argument) is argument
        with config.set(scheduler=None):
            assert resolve() is client
    assert resolve() is client


def test_schedulers_are_themselves() -> None:
    fake = Fake()
    assert resolve(fake) is fake


def test_types_are_adapted() -> None:
    class Thing:
        pass

    fake = Fake()
    register_type(Thing, lambda thing: fake)
    register_type(Thing, lambda thing: fake)
    assert resolve(Thing()) is fake
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(resolve(pool), Scheduler)


@pytest.mark.parametrize("bad", [5, Fake, object()])
def test_other_objects_are_refused(bad: Any) -> None:
    with pytest.raises(UsageError, match=r"cannot run graphs; scheduler= takes a name \('synchronous', .*a Client"):
        resolve(bad)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(UsageError, match="no scheduler is called 'theads'; known are 'synchronous', .*'threads'"):
        resolve("theads")


def test_unknown_names_in_the_configuration_say_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSCHEDULER__SCHEDULER", "theads")
    message = r"no scheduler is called 'theads' \(from environment variable MYSCHEDULER__SCHEDULER\); known are 'sync"
    with pytest.raises(UsageError, match=message):
        resolve()


def test_names_are_known_in_a_process_that_began_with_a_task() -> None:
    """Unpickling a task imports parts of the package, but never asks the package itself for a name."""
    code = "from myscheduler.graph.delayed import delayed; print(delayed(abs)(-1).compute())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout == "1\n"
