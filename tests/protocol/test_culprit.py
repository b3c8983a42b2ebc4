from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol.culprit import find_culprit


class Bad:
    pass


class Holder:
    def __init__(self, content: Any) -> None:
        self.content = content


def error_of(value: Any) -> Exception | None:
    """Fails on whatever holds a ``Bad``, as a pickler does."""
    if isinstance(value, Bad):
        return TypeError("bad")
    if isinstance(value, (list, tuple)):
        return next((e for e in map(error_of, value) if e), None)
    if isinstance(value, dict):
        return error_of(list(value.values()))
    if isinstance(value, Holder):
        return error_of(value.content)
    if callable(value):
        return error_of([cell.cell_contents for cell in getattr(value, "__closure__", None) or ()])
    return None


bad = Bad()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (bad, ""),
        ([1, bad], "[1]"),
        ({"a": (0, Holder(bad))}, "['a'][1].content"),
        ([[[[[[[[bad]]]]]]]], "[0][0][0][0][0][0]"),
        ((lambda content: lambda: content)(bad), " -> content"),
    ],
)
def test_the_path_leads_to_the_innermost_part(value: Any, path: str) -> None:
    error = TypeError("outer")
    found, cause = find_culprit(value, error, error_of)
    assert found == path
    assert (cause is error) == (path == "")


def test_parts_that_fail_only_together_have_no_path() -> None:
    error = RecursionError()
    assert find_culprit([1, 2], error, lambda value: None) == ("", error)
