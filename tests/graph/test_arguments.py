from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field

import pytest

from myscheduler.base.errors import KeyTypeError, UsageError
from myscheduler.base.refs import TaskRef
from myscheduler.graph.arguments import bind, find_refs, readable_again, substitute

Point = namedtuple("Point", "x y")


@dataclass
class Plain:
    a: object
    b: object = 1


@dataclass(frozen=True, slots=True)
class Frozen:
    a: object
    runs: list = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        self.runs.append("post_init")


class Items(list):
    pass


X, Y = TaskRef("x"), TaskRef("y")
VALUES = {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("item", "replaced"),
    [
        (X, 1),
        ([X, [Y, 0]], [1, [2, 0]]),
        ((X, "x"), (1, "x")),
        ({"x": X, "z": {1: Y}}, {"x": 1, "z": {1: 2}}),
        ({X: 0}, {1: 0}),
        ({X, Y, 5}, {1, 2, 5}),
        (frozenset({X}), frozenset({1})),
        (Point(X, Y), Point(1, 2)),
        (slice(X, None, Y), slice(1, None, 2)),
        (Plain(X, [Y]), Plain(1, [2])),
        (OrderedDict(a=X), OrderedDict(a=1)),
        (Items([X, 3]), Items([1, 3])),
    ],
)
def test_references_are_found_and_replaced(item: object, replaced: object) -> None:
    found = find_refs([item])
    assert set(found) <= {"x", "y"}
    assert found
    new = substitute(item, VALUES)
    assert new == replaced
    assert type(new) is type(replaced)
    assert substitute(item, VALUES) is not item


def test_order_of_first_appearance() -> None:
    refs = [TaskRef(number) for number in (3, 1, 2)]
    assert list(find_refs([{"a": [refs[0]]}, (refs[1], refs[0])], {"k": refs[2]})) == [3, 1, 2]


def test_references_in_sets_are_found_in_an_order_that_does_not_depend_on_addresses() -> None:
    for _ in range(5):
        assert list(find_refs([{TaskRef(name) for name in "hgfedcba"}])) == list("abcdefgh")


def test_subclasses_keep_what_is_theirs() -> None:
    counts: defaultdict[str, object] = defaultdict(int, a=X)
    new = substitute(counts, VALUES)
    assert new == {"a": 1}
    assert new["missing"] == 0
    assert counts["a"] is X
    assert substitute(Counter("aab"), VALUES) == {"a": 2, "b": 1}


def test_a_dataclass_is_rebuilt_without_running_its_init() -> None:
    item = Frozen(X)
    new = substitute(item, VALUES)
    assert new.a == 1
    assert new.runs == ["post_init"]
    assert item.a is X


@pytest.mark.parametrize("item", [5, "x", [1, 2], {"x": "y"}, (), Plain(1), Frozen(2), object(), slice(1)])
def test_what_holds_no_reference_is_not_copied(item: object) -> None:
    assert find_refs([item]) == {}
    assert substitute(item, VALUES) is item


def test_bind_replaces_keyword_arguments() -> None:
    items = [Y]
    args, kwargs = bind((0, X), {"a": items, "b": 5}, VALUES)
    assert (args, kwargs) == ((0, 1), {"a": [2], "b": 5})
    assert items == [Y]


def test_containers_that_hold_themselves() -> None:
    loop: list[object] = [1]
    loop.append(loop)
    assert find_refs([loop]) == {}
    loop.append(X)
    assert list(find_refs([loop])) == ["x"]
    with pytest.raises(UsageError, match="contains itself, or nests too deeply"):
        substitute(loop, VALUES)


def test_deep_nesting_is_searched_without_recursion() -> None:
    deep: list[object] = [X]
    for _ in range(50_000):
        deep = [deep]
    assert list(find_refs([deep])) == ["x"]


def test_a_reference_with_a_key_that_is_none() -> None:
    with pytest.raises(KeyTypeError, match=r"key \['x'\] is a list"):
        find_refs([TaskRef(["x"])])  # type: ignore[arg-type]


def test_views_and_iterators_become_lists() -> None:
    data = {"a": X}
    args, kwargs = readable_again((data.values(), iter([1, 2]), 3), {"k": data.keys()})
    assert args == ([X], [1, 2], 3)
    assert kwargs == {"k": ["a"]}


def test_generators_are_refused() -> None:
    with pytest.raises(UsageError, match=r"a generator can be read only once.* pass list\(...\) of it"):
        readable_again(((i for i in range(3)),), {})
