"""References are found by pickle, at any depth."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.refs import TaskRef, collecting


@dataclass
class Holder:
    inside: Any


def test_references_are_collected_in_order() -> None:
    value = {"list": [TaskRef("a"), 1], "object": Holder((TaskRef("b"), TaskRef("a")))}
    with collecting() as found:
        pickle.dumps(value)
    assert list(found) == ["a", "b"]


def test_a_reference_alone_is_pickled_as_itself() -> None:
    back = pickle.loads(pickle.dumps(TaskRef("a")))
    assert type(back) is TaskRef
    assert back.key == "a"


def test_collections_nest() -> None:
    with collecting() as outer:
        pickle.dumps(TaskRef("a"))
        with collecting() as inner:
            pickle.dumps(TaskRef("b"))
        pickle.dumps(TaskRef("c"))
    assert (list(outer), list(inner)) == (["a", "c"], ["b"])


def test_arguments_unpickled_outside_of_a_worker_say_so() -> None:
    with collecting():
        data = pickle.dumps(TaskRef("a"))
    with pytest.raises(UsageError, match="task that needs 'a' were unpickled outside of a worker"):
        pickle.loads(data)
