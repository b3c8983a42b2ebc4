from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.graph import schedulers
from myscheduler.graph.schedulers import Scheduler, push_default, register, register_type, remove_default, resolve


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
    monkeypatch.setattr(schedulers, "_defaults", [])


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


def test_the_newest_default_wins_until_it_is_removed() -> None:
    first, second = Fake(), Fake()
    fallback = resolve()
    assert fallback is resolve("threads")
    push_default(first)
    push_default(second)
    assert resolve() is second
    remove_default(first)
    assert resolve() is second
    remove_default(second)
    remove_default(second)
    assert resolve() is fallback


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
