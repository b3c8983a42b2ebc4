"""Items are no keys of tasks, and say of what they are which part."""

from __future__ import annotations

import pytest

from myscheduler.base.errors import KeyTypeError
from myscheduler.base.items import base_of, index_of, is_item, make_item, name_of
from myscheduler.base.keys import Key, validate_key

ITEM = make_item(("part", 0, 3), ("rows", 0), 3)


def test_an_item_says_of_what_it_is_which_part() -> None:
    assert is_item(ITEM)
    assert (name_of(ITEM), base_of(ITEM), index_of(ITEM)) == (("part", 0, 3), ("rows", 0), 3)


@pytest.mark.parametrize("key", ["x", 1, ("x", "y", "z", 3), ("x", ITEM), ()])
def test_a_key_is_no_item_and_its_own_base(key: Key) -> None:
    assert not is_item(key)
    assert base_of(key) == key


def test_no_task_can_be_named_so() -> None:
    with pytest.raises(KeyTypeError, match="begins with a word that is not for keys: choose another"):
        validate_key(ITEM)
    assert validate_key(("x", ITEM)) == ("x", ITEM)
