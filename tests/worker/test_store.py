"""Values of several attempts of one key: which of them counts is decided elsewhere, and none is lost until then."""

from __future__ import annotations

import pytest

from myscheduler.worker import store as module
from myscheduler.worker.store import Store


def _store(*attempts: int) -> Store:
    store = Store()
    for attempt in attempts:
        store.put("x", attempt, f"value {attempt}", 100 + attempt)
    return store


def test_a_second_value_takes_the_place_of_the_first_when_that_is_dropped() -> None:
    store = _store(14, 21)
    assert (store["x"], store.nbytes, len(store)) == ("value 14", 235, 1)
    store.drop([("x", 14)])
    assert (store["x"], store.nbytes, len(store)) == ("value 21", 121, 1)
    assert store.find("x", 14) is None
    assert store.find("x", 0) == (21, "value 21", 121)


def test_a_second_value_that_is_not_wanted_leaves_the_first_alone() -> None:
    for attempts in ((14, 21), (21, 14)):
        store = _store(*attempts)
        store.drop([("x", attempts[1])])
        assert (store["x"], store.nbytes) == (f"value {attempts[0]}", 100 + attempts[0])
        store.drop([("x", attempts[0])])
        assert (len(store), store.nbytes) == (0, 0)


def test_the_same_attempt_is_kept_once_and_what_is_not_here_is_dropped_in_vain() -> None:
    store = _store(1, 1, 2, 2, 3)
    assert store.nbytes == 101 + 102 + 103
    assert store.copies() == [("x", 1), ("x", 2), ("x", 3)]
    store.drop([("x", 2), ("x", 9), ("y", 1)])
    assert (store["x"], store.nbytes) == ("value 1", 204)
    store.clear()
    assert ("x" in store, store.nbytes) == (False, 0)


def test_nothing_is_lost_in_several_tables_be_they_full_or_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABLE_MAX", 8)
    store = Store()
    for number in range(30):
        store.make_room()
        store.put(f"x-{number}", 1, number, 10)
    store.put("x-0", 2, "another", 10)
    store.put("x-0", 1, "the same", 10)
    assert (len(store), store.nbytes, len(store.copies())) == (30, 310, 31)
    assert [store[f"x-{number}"] for number in range(30)] == list(range(30))
    assert store.find("x-9", 1) == (1, 9, 10)
    assert ("x-9" in store, "x-30" in store, store.find("x-30", 0)) == (True, False, None)
    store.drop([("x-0", 1), *[(f"x-{number}", 1) for number in range(1, 16)], ("x-20", 1)])
    assert (store["x-0"], store["x-23"], len(store), store.nbytes) == ("another", 23, 14, 140)
    for number in range(30, 33):
        store.make_room()
        store.put(f"x-{number}", 1, number, 10)
    assert (store["x-0"], store["x-32"], len(store)) == ("another", 32, 17)
    store.clear()
    assert (len(store), store.nbytes, store.copies()) == (0, 0, [])
