from __future__ import annotations

import pytest

from myscheduler.base.errors import InternalError
from myscheduler.client.fences import Fences


def test_news_before_the_fence_are_refused_and_asked_for_again() -> None:
    fences = Fences()
    assert not fences
    fences.put_up(1, ("x", "y"))
    assert fences
    assert fences.refuses("x")
    assert fences.take_down(1) == ["x"]
    assert not fences
    assert not fences.refuses("x")


def test_a_second_release_waits_for_the_second_fence() -> None:
    fences = Fences()
    fences.put_up(1, ("x",))
    fences.put_up(2, ("x",))
    assert fences.refuses("x")
    assert fences.take_down(1) == []
    assert fences.refuses("x")
    fences.check()
    assert fences.take_down(2) == ["x"]


def test_other_keys_pass() -> None:
    fences = Fences()
    fences.put_up(1, ("x",))
    assert not fences.refuses("y")
    assert fences.take_down(1) == []


def test_check_finds_a_key_without_fence() -> None:
    fences = Fences()
    fences.put_up(1, ("x",))
    fences.check()
    fences._keys_of.clear()
    with pytest.raises(InternalError, match="key 'x' waits for fence 1"):
        fences.check()
