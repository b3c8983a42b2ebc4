from __future__ import annotations

import copy
import gc
import operator
import pickle
import time
import weakref
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from myscheduler.base.errors import GraphError, KeyTypeError, UsageError
from myscheduler.base.keys import key_prefix
from myscheduler.base.refs import TaskRef, collecting
from myscheduler.graph.delayed import Delayed, DelayedFunction, DelayedFuture, collect, delayed
from myscheduler.graph.optimize import fuse_linear
from myscheduler.graph.order import order

Point = namedtuple("Point", "x y")


@dataclass
class Pair:
    a: Any
    b: Any


def inc(x: int) -> int:
    """Add one."""
    return x + 1


def value(node: Delayed[Any]) -> Any:
    return node.compute(scheduler="synchronous")


# ---- functions ------------------------------------------------------------------------------------------------------


def test_calls_are_written_down() -> None:
    called = []
    note = delayed(called.append)
    node = note(1)
    assert called == []
    value(node)
    assert called == [1]


def test_decorator_with_and_without_options() -> None:
    @delayed
    def one(x: int) -> int:
        return x

    @delayed(nout=2, pure=True)
    def two(x: int) -> tuple[int, int]:
        return x, -x

    assert value(one(5)) == 5
    a, b = two(5)
    assert (value(a), value(b)) == (5, -5)
    assert two(5).key == two(5).key


def test_a_delayed_function_looks_like_the_function() -> None:
    wrapped = delayed(inc)
    assert (wrapped.__name__, wrapped.__doc__, wrapped.__wrapped__) == ("inc", "Add one.", inc)
    assert isinstance(wrapped, DelayedFunction)
    assert DelayedFunction.__doc__ != wrapped.__doc__


def test_a_delayed_function_is_its_function_as_an_argument() -> None:
    assert value(delayed(list)(delayed(map)(delayed(inc), [1, 2]))) == [2, 3]
    assert delayed(inc).compute(scheduler="synchronous") is inc


def test_delayed_methods_of_classes() -> None:
    class Counter:
        start = 10

        @delayed
        def plus(self, n: int) -> int:
            return self.start + n

    assert value(Counter().plus(5)) == 15


def test_keys_name_the_function() -> None:
    assert key_prefix(delayed(inc)(1).key) == "inc"
    assert key_prefix(delayed(inc, name="plus-one")(1).key) == "plus-one"
    assert delayed(inc)(1).key != delayed(inc)(1).key


def test_keys_can_be_chosen() -> None:
    assert delayed(inc)(1, dask_key_name=("x", 1)).key == ("x", 1)
    assert delayed(inc)(1, key="x").key == "x"
    assert value(delayed(sorted)([2, -3], key=abs)) == [2, -3]
    with pytest.raises(KeyTypeError):
        delayed(inc)(1, dask_key_name={"a"})


def test_pure_calls_are_shared() -> None:
    pure = delayed(inc, pure=True)
    assert pure(1).key == pure(1).key != pure(2).key
    assert delayed(inc)(1, pure=True).key == pure(1).key
    assert pure(1, pure=False).key != pure(1).key
    x = delayed(inc)(1)
    assert pure(x).key == pure(x).key
    assert len(collect([pure(x), pure(x)])) == 2


def test_nout() -> None:
    pair = delayed(divmod, nout=2)(7, 2)
    assert len(pair) == 2
    assert [value(part) for part in pair] == [3, 1]
    assert list(delayed(tuple, nout=0)()) == []
    bad: Any
    for bad in (-1, 1.5, True, "2"):
        with pytest.raises(UsageError, match="is not a number of items"):
            delayed(inc, nout=bad)


# ---- values ---------------------------------------------------------------------------------------------------------


def test_values() -> None:
    assert value(delayed(5) + 1) == 6
    assert value(delayed(None)) is None
    assert delayed(5, name="five").key == "five"
    assert key_prefix(delayed([1]).key) == "list"
    assert delayed([1, 2], pure=True).key == delayed([1, 2], pure=True).key


def test_values_are_searched_unless_told_not_to() -> None:
    x = delayed(inc)(1)
    assert value(delayed([x, 5])) == [2, 5]
    untouched = delayed([x, 5], traverse=False)
    assert untouched.graph[untouched.key].dependencies == ()


def test_delayed_of_a_delayed_is_itself() -> None:
    x = delayed(5)
    assert delayed(x) is x


# ---- futures --------------------------------------------------------------------------------------------------------


class Future(TaskRef):
    __slots__ = ()


def test_futures_are_dependencies_that_are_not_in_the_graph() -> None:
    future = Future("f")
    node = delayed(inc)([future])
    assert node.graph[node.key].dependencies == ("f",)
    assert list(node.graph) == [node.key]


def test_a_wrapped_future_is_passed_on_as_the_future() -> None:
    future = Future("f")
    wrapped = delayed(future)
    assert isinstance(wrapped, DelayedFuture)
    node = delayed(max)(wrapped, [wrapped + 1])
    graph = node.graph
    assert graph[node.key].args[0] is future
    assert graph[node.key].dependencies[0] == "f"
    assert "f" not in graph


# ---- attributes, methods, calls -------------------------------------------------------------------------------------


def test_attributes_and_methods() -> None:
    z = delayed(complex)(1, 2)
    assert value(z.real) == 1
    assert value(z.conjugate()) == 1 - 2j
    assert value(delayed("a-b").split("-", maxsplit=delayed(1))) == ["a", "b"]
    assert z.real.key == z.real.key != z.imag.key
    assert key_prefix(z.conjugate().key) == "conjugate"
    assert z.conjugate(dask_key_name="c").key == "c"


def test_calling_a_result() -> None:
    make = delayed(lambda n: lambda x: x + n)
    assert value(make(1)(2)) == 3
    assert make(1)(2, dask_key_name="sum").key == "sum"


def test_private_attributes_are_not_delayed() -> None:
    with pytest.raises(AttributeError, match=r"a Delayed has no attribute '_private'; use delayed\(getattr\)"):
        assert delayed(5)._private


# ---- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda x: [x, [x]], [2, [2]]),
        (lambda x: (x, 1), (2, 1)),
        (lambda x: {"a": x, "b": {"c": x}}, {"a": 2, "b": {"c": 2}}),
        (lambda x: {x}, {2}),
        (lambda x: frozenset({x}), frozenset({2})),
        (lambda x: Pair(x, [x]), Pair(2, [2])),
        (lambda x: Point(x, 0), Point(2, 0)),
        (lambda x: slice(x, None), slice(2, None)),
        (lambda x: {"k": x}.values(), [2]),
        (lambda x: iter([x]), [2]),
    ],
)
def test_arguments_are_searched(make: Callable[[Any], Any], expected: Any) -> None:
    x = delayed(inc)(1)
    same = delayed(lambda item: item)
    assert value(same(make(x))) == expected
    assert value(same(item=make(x))) == expected


def test_a_container_that_changes_later_does_not_change_the_task() -> None:
    items = [delayed(inc)(1)]
    total = delayed(sum)(items)
    items.append(delayed(inc)(100))
    assert value(total) == 2


def test_generators_are_refused() -> None:
    with pytest.raises(UsageError, match=r"pass list\(...\) of it"):
        delayed(sum)(delayed(inc)(i) for i in range(3))


# ---- what needs the value -------------------------------------------------------------------------------------------


def _assign(x: Any) -> None:
    x.a = 1


def _delete(x: Any) -> None:
    del x.a


def _assign_item(x: Any) -> None:
    x[0] = 1


def _delete_item(x: Any) -> None:
    del x[0]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (bool, "the truth of Delayed('x') is not known before it is computed"),
        (lambda x: x in [1, 2], "the truth of"),
        (list, "Delayed('x') cannot be iterated over, since its length is not known yet"),
        (lambda x: 1 in x, "what Delayed('x') contains is not known yet; use delayed(operator.contains)"),
        (len, "Delayed('x') has no length yet; say delayed(func, nout=n)"),
        (_assign, "Delayed('x') cannot be changed (attribute 'a')"),
        (_delete, "cannot be changed (attribute 'a')"),
        (_assign_item, "Delayed('x') cannot be changed (item 0)"),
        (_delete_item, "cannot be changed (item 0)"),
    ],
)
def test_what_needs_the_value_is_refused(use: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        use(delayed(5, name="x"))
    assert message in str(caught.value)


# ---- being an object ------------------------------------------------------------------------------------------------


def test_repr_and_hash() -> None:
    x = delayed(5, name="<x>")
    assert repr(x) == "Delayed('<x>')"
    assert {x: 1}[x] == 1
    assert copy.copy(x) is x
    assert copy.deepcopy([x])[0] is x


def test_html_is_escaped() -> None:
    x = delayed(5, name="<x>")
    shown = (delayed(max)([x] + [delayed(i, name=f"y{i}") for i in range(9)]))._repr_html_()
    assert "<x>" not in shown
    assert "&lt;x&gt;, y0, y1, y2, y3, y4, y5, y6, and 2 more</td>" in shown
    assert ">max</td>" in shown
    assert "needs" not in x._repr_html_()
    assert "calls" not in x._repr_html_()


def test_pickle_carries_the_graph() -> None:
    x = delayed(inc)(1)
    node = delayed(operator.add)([x], [x, inc])[0:3]
    for _ in range(2):
        node = pickle.loads(pickle.dumps(node))
    assert value(node) == [2, 2, inc]
    pair = pickle.loads(pickle.dumps(delayed(divmod, nout=2)(7, 2)))
    assert [value(part) for part in pair] == [3, 1]
    function = pickle.loads(pickle.dumps(delayed(inc, pure=True, name="plus")))
    assert function(1).key == delayed(inc, pure=True, name="plus")(1).key
    future = pickle.loads(pickle.dumps(delayed(TaskRef("f"))))
    assert (type(future), future.key) == (DelayedFuture, "f")


def test_pickled_as_an_argument_it_is_a_reference() -> None:
    x = delayed(inc)(1)
    with collecting() as found:
        data = pickle.dumps([x])
    assert list(found) == [x.key]
    assert len(data) < 200


# ---- graphs ---------------------------------------------------------------------------------------------------------


def test_two_tasks_under_one_key() -> None:
    same = [delayed(inc)(1, dask_key_name="x"), delayed(inc)(1, dask_key_name="x")]
    assert len(collect(same)) == 1
    with pytest.raises(GraphError, match=r"two different tasks have the key 'x': inc\(...\) and inc\(...\)"):
        collect([*same, delayed(inc)(2, dask_key_name="x")])


def test_what_nobody_refers_to_is_gone() -> None:
    class Data:
        pass

    data = Data()
    gone = weakref.ref(data)
    node = delayed(inc)(data)
    del data, node
    gc.collect()
    assert gone() is None


def test_long_chains() -> None:
    start = time.perf_counter()
    step = delayed(inc)
    node = step(0)
    for _ in range(30_000):
        node = step(node)
    graph = node.graph
    assert len(graph) == 30_001
    assert max(order(graph).values()) == 30_000
    fused = fuse_linear(graph, [node.key])
    (task,) = fused.values()
    assert task.func(*task.args) == 30_001
    del node, graph, fused, task  # must not overflow the stack
    assert time.perf_counter() - start < 30


def test_long_chains_can_be_pickled() -> None:
    node = delayed(inc)(0)
    for _ in range(5000):
        node = delayed(inc)(node)
    assert len(pickle.loads(pickle.dumps(node)).graph) == 5001


def test_wide_fan_in() -> None:
    start = time.perf_counter()
    step = delayed(inc)
    node = delayed(sum)([step(i) for i in range(30_000)])
    graph = node.graph
    assert order(graph)[node.key] == 30_000
    assert len(graph[node.key].dependencies) == 30_000
    assert time.perf_counter() - start < 20
