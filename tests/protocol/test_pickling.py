from __future__ import annotations

import functools
import operator
import pickle
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from typing import Any

import cloudpickle
import numpy as np
import pytest

from myscheduler.base.errors import SerializationError, UsageError
from myscheduler.base.limits import EXCEPTION_BYTES_MAX, INLINE_BYTES_MAX, TRACEBACK_CHARS_MAX
from myscheduler.base.refs import TaskRef
from myscheduler.protocol import pickling
from myscheduler.protocol.blob import Blob, payload_nbytes
from myscheduler.protocol.memory import allocate, as_bytes
from myscheduler.protocol.pickling import (
    dumps,
    dumps_call,
    dumps_exception,
    dumps_function,
    loads,
    loads_call,
    loads_exception,
)
from myscheduler.protocol.remote_errors import RemoteError, RemoteTraceback


def moved(payload: Any) -> Any:
    """The payload as it is after crossing the wire: in memory of its own."""
    return Blob(tuple(bytearray(b) for b in payload.buffers)) if isinstance(payload, Blob) else payload


def main_function(source: str, **namespace: Any) -> Any:
    """A function as if it had been typed in ``__main__``."""
    space: dict[str, Any] = {"__name__": "__main__", **namespace}
    exec(textwrap.dedent(source), space)
    return next(value for value in space.values() if getattr(value, "__globals__", None) is space)


@pytest.fixture
def pickled_by_value(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What cloudpickle was asked to pickle."""
    seen: list[Any] = []
    original = cloudpickle.dumps

    def spy(value: Any, *args: Any, **kwargs: Any) -> bytes:
        seen.append(value)
        return original(value, *args, **kwargs)

    monkeypatch.setattr(cloudpickle, "dumps", spy)
    return seen


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 1, "x", {"a": [1, (2, b"3")]}, b"y" * 200_000, bytearray(b"z" * 200_000)])
def test_values_survive(value: Any) -> None:
    result = loads(moved(dumps(value)))
    assert result == value
    assert type(result) is type(value)


def test_small_values_are_bytes_and_larger_ones_a_blob() -> None:
    assert type(dumps("x" * (INLINE_BYTES_MAX - 100))) is bytes
    payload = dumps("x" * INLINE_BYTES_MAX)
    assert isinstance(payload, Blob)
    assert len(payload.buffers) == 1


def test_large_arrays_are_not_copied() -> None:
    array = np.arange(100_000, dtype="f8")
    payload = dumps({"deep": [array]})
    assert isinstance(payload, Blob)
    assert len(payload.buffers) == 2
    assert np.shares_memory(np.frombuffer(payload.buffers[1]), array)
    assert len(payload.buffers[0]) < 1000


def test_large_bytes_are_not_copied() -> None:
    data = b"x" * 1_000_000
    payload = dumps(data)
    assert isinstance(payload, Blob)
    assert isinstance(payload.buffers[1], memoryview)
    assert payload.buffers[1].obj is data


def test_bytes_that_were_received_are_not_copied() -> None:
    payload = dumps(b"x" * 100_000)
    assert isinstance(payload, Blob)
    stream, received = payload.buffers[0], allocate(100_000)
    received[:] = payload.buffers[1]
    value = loads(Blob((bytearray(stream), received)))
    assert value == b"x" * 100_000
    assert value is as_bytes(received)


def test_arrays_keep_the_memory_that_was_received_and_can_be_written_to() -> None:
    payload = dumps(np.arange(20_000))
    assert isinstance(payload, Blob)
    received = allocate(payload.nbytes - len(payload.buffers[0]))
    received[:] = memoryview(payload.buffers[1]).cast("B")
    value = loads(Blob((payload.buffers[0], received)))
    value += 1
    np.testing.assert_array_equal(np.frombuffer(received, value.dtype), np.arange(1, 20_001))


def test_small_arrays_travel_in_the_stream() -> None:
    array = np.arange(100)
    payload = dumps(array)
    assert type(payload) is bytes
    np.testing.assert_array_equal(loads(payload), array)


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_arrays_survive_and_are_writable(order: str) -> None:
    array = np.arange(40_000, dtype="f8").reshape(200, 200)
    array = array[:, ::2] if order == "strided" else np.array(array, order=order)  # type: ignore[call-overload]
    result = loads(moved(dumps(array)))
    np.testing.assert_array_equal(result, array)
    result[0, 0] = 7
    assert array[0, 0] == 0


def test_read_only_arrays_stay_read_only() -> None:
    array = np.zeros(100_000)
    array.flags.writeable = False
    assert not loads(moved(dumps(array))).flags.writeable


def test_things_of_main_travel_by_value() -> None:
    function = main_function("class Point:\n    x = 41\ndef make():\n    return Point()")
    payload = dumps(function())
    assert b"__main__" in payload  # type: ignore[operator]
    code = f"import pickle; print(pickle.loads({payload!r}).x + 1)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30).stdout == b"42\n"


def test_modules_registered_with_cloudpickle_travel_by_value() -> None:
    import this_is_only_here  # type: ignore[import-not-found]

    by_reference, _ = dumps_function(this_is_only_here.f)
    cloudpickle.register_pickle_by_value(this_is_only_here)
    try:
        by_value, payload = dumps_function(this_is_only_here.f)
        assert by_value != by_reference
        assert len(payload) > 100  # type: ignore[arg-type]
    finally:
        cloudpickle.unregister_pickle_by_value(this_is_only_here)
    assert dumps_function(this_is_only_here.f)[0] == by_reference


@pytest.fixture(autouse=True)
def _local_module(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    module = types.ModuleType("this_is_only_here")
    exec("def f():\n    return 1", module.__dict__)
    monkeypatch.setitem(sys.modules, "this_is_only_here", module)


def test_the_guilty_part_of_a_value_is_named() -> None:
    with pytest.raises(SerializationError) as caught:
        dumps({"a": [1, threading.Lock()]}, "the result of task 'f-1'")
    assert str(caught.value) == (
        "the result of task 'f-1' cannot be pickled (at ['a'][1]): TypeError: cannot pickle '_thread.lock' object. "
        "Create it inside the task, or pass what it is made from."
    )
    with pytest.raises(SerializationError, match="a value of type lock cannot be pickled: TypeError"):
        dumps(threading.Lock())


# ---- calls ----------------------------------------------------------------------------------------------------------


@dataclass
class Box:
    content: Any


def test_references_are_found_at_any_depth_in_order() -> None:
    args = ([TaskRef("b")], Box(TaskRef(("a", 1))))
    payload, found = dumps_call("f", args, {"k": {"x": TaskRef("c"), "y": TaskRef("b")}})
    assert list(found) == ["b", ("a", 1), "c"]
    assert loads_call(payload, {"b": 1, ("a", 1): 2, "c": 3}) == (([1], Box(2)), {"k": {"x": 3, "y": 1}})


def test_references_are_found_in_closures_among_the_arguments() -> None:
    ref = TaskRef("x")
    payload, found = dumps_call("apply", (lambda: ref,), {})
    assert list(found) == ["x"]
    (function,), _ = loads_call(payload, {"x": 5})
    assert function() == 5


def test_nested_calls_do_not_mix_references() -> None:
    class Nested:
        def __reduce__(self) -> Any:
            self.inner = dumps_call("inner", (TaskRef("inner"),), {})[1]
            return (int, ())

    nested = Nested()
    _, found = dumps_call("outer", (nested, TaskRef("outer")), {})
    assert list(found) == ["outer"]
    assert list(nested.inner) == ["inner"]


def test_a_reference_outside_of_a_call_stays_a_reference() -> None:
    assert loads(dumps(TaskRef("x"))).key == "x"


def test_a_call_cannot_be_unpickled_without_its_inputs() -> None:
    payload, _ = dumps_call("f", (TaskRef("x"),), {})
    with pytest.raises(UsageError, match="outside of a worker"):
        loads(payload)


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        (
            (1, threading.Lock()),
            {},
            "argument 2 of task 'f' cannot be pickled: TypeError: cannot pickle '_thread.lock'",
        ),
        ((), {"lock": threading.Lock()}, "argument 'lock' of task 'f' cannot be pickled: TypeError"),
        (
            ([0, Box(threading.Lock())],),
            {},
            r"argument 1 of task 'f' cannot be pickled \(at \[1\].content\): TypeError",
        ),
        (((i for i in ()),), {}, "argument 1 .*generator.* Create it inside"),
    ],
)
def test_the_guilty_argument_is_named(args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(SerializationError, match=text):
        dumps_call("f", args, kwargs)


# ---- functions ------------------------------------------------------------------------------------------------------


def test_functions_by_reference_are_pickled_once() -> None:
    func_id, payload = dumps_function(operator.add)
    assert len(func_id) == 16
    assert dumps_function(operator.add)[1] is payload
    assert loads(payload) is operator.add
    assert dumps_function(operator.sub)[0] != func_id


def test_functions_by_value_are_pickled_once_while_unchanged(pickled_by_value: list[Any]) -> None:
    function = main_function("import math\ndef f(x, y=2):\n    return helper(x) + math.pi + y", helper=operator.neg)
    first = dumps_function(function)
    assert dumps_function(function) == first
    assert pickled_by_value == [function]


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.__globals__.update(step=2),
        lambda f: f.__globals__["helper"].__globals__.update(base=2),
        lambda f: setattr(f, "__defaults__", (5,)),
        lambda f: setattr(f, "__kwdefaults__", {"z": 1}),
        lambda f: setattr(f, "attribute", 3),
        lambda f: f.__globals__.pop("step"),
        lambda f: setattr(f, "__code__", f.__code__.replace(co_consts=(None, 1000))),
    ],
)
def test_a_changed_function_is_pickled_again(change: Any, pickled_by_value: list[Any]) -> None:
    helper = main_function("def helper(x):\n    return x + base", base=1)
    function = main_function("def f(x, y=1, *, z=0):\n    return helper(x) + step + y + z", helper=helper, step=1)
    before = dumps_function(function)
    assert dumps_function(function) == before
    change(function)
    assert dumps_function(function)[0] != before[0]
    assert len(pickled_by_value) == 2


def test_a_changed_global_is_seen_by_the_next_call() -> None:
    function = main_function("def f(x):\n    return x + step", step=1)
    assert loads(dumps_function(function)[1])(1) == 2
    function.__globals__["step"] = 10
    assert loads(dumps_function(function)[1])(1) == 11


def test_a_changed_closure_is_seen_by_the_next_call() -> None:
    step = 1

    def f(x: int) -> int:
        return x + step

    assert loads(dumps_function(f)[1])(1) == 2
    step = 10
    assert loads(dumps_function(f)[1])(1) == 11


def test_functions_with_mutable_references_are_pickled_each_time(pickled_by_value: list[Any]) -> None:
    function = main_function("def f(x):\n    return x + len(seen)", seen=[])
    first = dumps_function(function)
    function.__globals__["seen"].append(1)
    assert dumps_function(function)[0] != first[0]
    assert len(pickled_by_value) == 2


def test_bound_methods_and_partials_carry_their_state() -> None:
    box = [1]
    first, _ = dumps_function(box.append)
    box.append(2)
    assert dumps_function(box.append)[0] != first
    assert loads(dumps_function(functools.partial(operator.add, 1))[1])(2) == 3


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickling, "_functions", {})
    monkeypatch.setattr(pickling, "_FUNCTIONS_CACHED_MAX", 3)
    for function in (len, max, min):
        dumps_function(function)
    dumps_function(len)
    dumps_function(sum)
    assert [cached.function for cached in pickling._functions.values()] == [min, len, sum]


def test_futures_in_closures_are_refused() -> None:
    ref = TaskRef("x-1")
    with pytest.raises(SerializationError, match="refers to the future of 'x-1' .* Pass futures as arguments"):
        dumps_function(lambda: ref)


def test_what_a_function_refers_to_is_named() -> None:
    lock = threading.Lock()

    def f() -> None:
        lock.acquire()

    with pytest.raises(SerializationError, match=r"function '.*f' cannot be pickled because of what it refers to"):
        dumps_function(f)
    with pytest.raises(
        SerializationError, match=r"f -> lock\): TypeError: cannot pickle '_thread.lock' object\. Create"
    ):
        dumps_function(f)


# ---- exceptions -----------------------------------------------------------------------------------------------------


class NeedsTwoError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


class PicklingExitsError(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit


def fail(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_exceptions_survive_with_their_traceback() -> None:
    shipped = dumps_exception(fail(ValueError("bad", 3)))
    error = loads_exception(*shipped)
    assert type(error) is ValueError
    assert error.args == ("bad", 3)
    assert error.__traceback__ is None
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in fail\n    raise error" in str(error.__cause__)
    assert shipped[1] == "ValueError: ('bad', 3)"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError(threading.Lock()), "ValueError: <unlocked _thread.lock"),
        (NeedsTwoError(1, 2), "NeedsTwoError: 1 and 2"),
        (PicklingExitsError("x"), "PicklingExitsError: x"),
        (UnprintableError(), "UnprintableError"),
    ],
)
def test_exceptions_that_cannot_be_carried_are_replaced(error: Exception, text: str) -> None:
    payload, line, traceback_text = dumps_exception(fail(error))
    assert text in line
    result = loads_exception(payload, line, traceback_text)
    if not isinstance(error, UnprintableError):
        assert type(result) is RemoteError
        assert text in str(result)
    assert "in fail" in str(result.__cause__)


def test_an_exception_that_cannot_be_unpickled_here_is_replaced() -> None:
    result = loads_exception(b"cnowhere\nNothing\n.", "Nothing: at all", "Traceback...\n")
    assert type(result) is RemoteError
    assert str(result) == "Nothing: at all"
    assert "ModuleNotFoundError" in result.__notes__[0]
    assert type(loads_exception(dumps(5), "Five", "")) is RemoteError


def test_tracebacks_are_bounded_and_keep_their_end() -> None:
    _, text, traceback_text = dumps_exception(ValueError("x" * 200_000 + "the end"))
    assert len(traceback_text) <= TRACEBACK_CHARS_MAX
    assert len(text) <= 4096
    assert traceback_text.endswith("the end\n")


def test_an_exception_that_is_too_large_is_replaced() -> None:
    payload, text, traceback_text = dumps_exception(ValueError("x" * EXCEPTION_BYTES_MAX))
    assert payload_nbytes(payload) < 10_000
    result = loads_exception(payload, text, traceback_text)
    assert type(result) is RemoteError
    assert str(result).startswith("ValueError: xxx")


def test_what_a_value_says_of_itself_is_bounded() -> None:
    class Talkative:
        def __reduce__(self) -> Any:
            raise RuntimeError("no" * 100_000)

    with pytest.raises(SerializationError, match="RuntimeError: nono") as caught:
        dumps(Talkative(), "the result")
    assert len(str(caught.value)) < 5000


def test_our_own_frames_are_hidden() -> None:
    space: dict[str, Any] = {"__name__": "myscheduler.worker.server.executor"}
    exec("def execute(f):\n    try:\n        f()\n    except Exception as error:\n        return error", space)

    def users() -> None:
        raise ValueError

    traceback_text = dumps_exception(space["execute"](users))[2]
    assert "execute" not in traceback_text
    assert "in users" in traceback_text
    assert "execute" in dumps_exception(space["execute"](None))[2]  # there is nothing else to show


def test_sizes_are_counted() -> None:
    payload = dumps(np.zeros(100_000))
    assert payload_nbytes(payload) > 800_000
    assert payload_nbytes(pickle.dumps(1)) < 20
