from __future__ import annotations

import functools
import os.path
import sys
import types
from typing import Any

import pytest

from myscheduler.protocol.unchanged import global_names, is_by_reference, take


def test_names_of_nested_code_are_found() -> None:
    def f() -> Any:
        return lambda: [os for _ in sys.path]

    assert set(global_names(f.__code__)) == {"os", "sys"}


@pytest.mark.parametrize("obj", [len, dict, os.path.join, functools.partial, str])
def test_importable_things_go_by_reference(obj: Any) -> None:
    assert is_by_reference(obj)


@pytest.mark.parametrize("obj", [lambda: 0, [].append, functools.partial(len), 5, "x".join])
def test_other_things_do_not(obj: Any) -> None:
    assert not is_by_reference(obj)


def test_a_shadowed_function_does_not_go_by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.path.join
    monkeypatch.setattr(os.path, "join", lambda *parts: original(*parts))
    assert not is_by_reference(original)


def test_recursive_functions_have_a_snapshot() -> None:
    def f(n: int) -> int:
        return n and f(n - 1)

    snapshot = take(f)  # type: ignore[arg-type]
    assert snapshot is not None
    assert snapshot.holds()


@pytest.mark.parametrize("value", [[], {}, set(), object(), (1, []), bytearray()])
def test_what_can_change_in_place_has_none(value: Any) -> None:
    assert take(lambda: value) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1, 1.5, "x", b"y", None, True, (1, ("x",)), len, dict, sys])
def test_what_cannot_has_one(value: Any) -> None:
    snapshot = take(lambda: value)  # type: ignore[arg-type]
    assert snapshot is not None
    assert snapshot.holds()


def test_loading_a_module_may_change_what_a_package_means(monkeypatch: pytest.MonkeyPatch) -> None:
    import concurrent

    snapshot = take(lambda: concurrent.futures)  # type: ignore[arg-type]
    assert snapshot is not None
    assert snapshot.holds()
    monkeypatch.setitem(sys.modules, "concurrent.made_up", types.ModuleType("concurrent.made_up"))
    assert not snapshot.holds()


def test_wrapped_functions_are_followed() -> None:
    limit = 1

    def inner() -> int:
        return limit

    @functools.wraps(inner)
    def outer() -> int:
        return inner()

    snapshot = take(outer)  # type: ignore[arg-type]
    assert snapshot is not None
    assert snapshot.holds()
    limit = 2
    assert not snapshot.holds()


def test_a_cell_without_content_is_no_state_to_keep() -> None:
    def f() -> int:
        return limit

    limit = 1
    assert f.__closure__ is not None
    snapshot = take(f)  # type: ignore[arg-type]
    assert snapshot is not None
    del f.__closure__[0].cell_contents
    assert not snapshot.holds()
    assert take(f) is None  # type: ignore[arg-type]


def test_long_chains_are_given_up() -> None:
    many = tuple(range(2000))
    assert take(lambda: many) is None  # type: ignore[arg-type]
