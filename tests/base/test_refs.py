"""References are found by pickle, at any depth."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.refs import MANY, TaskRef, _context, bundled, collecting


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


# ---- many at a time -------------------------------------------------------------------------------------------------


def there_and_back(args: Any) -> tuple[Any, list[Any]]:
    """What pickling and unpickling makes of arguments, in which each reference is its key in capitals; and the keys found."""
    with collecting() as found:
        data = pickle.dumps(bundled(args))
    _context.inputs = {key: str(key).upper() for key in found}
    try:
        return pickle.loads(data), list(found)
    finally:
        _context.inputs = None


KEYS = [f"k{number}" for number in range(MANY)]
REFS = [TaskRef(key) for key in KEYS]
VALUES = [key.upper() for key in KEYS]


@pytest.mark.parametrize(
    ("args", "back"),
    [
        ((REFS,), (VALUES,)),
        ((1, tuple(REFS), "x"), (1, tuple(VALUES), "x")),
        ((0, *REFS, [1]), (0, *VALUES, [1])),
        (([0, *REFS, None], REFS), ([0, *VALUES, None], VALUES)),
        (([*REFS[:-1], 0, REFS[-1]],), ([*VALUES[:-1], 0, VALUES[-1]],)),
        ((REFS[:-1],), (VALUES[:-1],)),
        (([*REFS, *REFS],), ([*VALUES, *VALUES],)),
        (([REFS],), ([VALUES],)),
    ],
)
def test_lists_of_references_come_back_as_lists_of_values(args: Any, back: Any) -> None:
    assert there_and_back(args) == (back, KEYS if args != (REFS[:-1],) else KEYS[:-1])


def test_they_are_found_in_order_and_pickled_in_less_room() -> None:
    args = (TaskRef("first"), REFS, TaskRef("last"))
    assert there_and_back(args)[1] == ["first", *KEYS, "last"]
    with collecting():
        assert len(pickle.dumps(bundled((REFS * 10,)))) < len(pickle.dumps((REFS * 10,)))


def test_a_list_that_is_given_twice_is_one_list_there_too() -> None:
    (one, other), _ = there_and_back((REFS, REFS))
    assert one is other


def test_references_that_pickle_in_a_way_of_their_own_are_left_alone() -> None:
    class Special(TaskRef):
        def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
            return (str, ("special",))

    assert there_and_back(([Special("x")] * MANY,)) == ((["special"] * MANY,), [])


def test_many_unpickled_outside_of_a_worker_say_so_too() -> None:
    with collecting():
        data = pickle.dumps(bundled((REFS,)))
    with pytest.raises(UsageError, match="task that needs 'k0' were unpickled outside of a worker"):
        pickle.loads(data)
