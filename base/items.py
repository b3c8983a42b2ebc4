"""Items: parts of a result that a task takes as inputs, as ``rows[3]`` of the task ``rows``.

An *item* names the part: among the inputs of a task it stands instead of a key. Nobody computes it as a task of its own:
the worker that runs the task takes it out of the result if it holds that, and else has it sent by one that does.
"""

from __future__ import annotations

from .keys import ITEM_MARK, Key


def make_item(name: Key, base: Key, index: int | str) -> Key:
    """An item: the name under which the arguments refer to it, the task that it is a part of, its index there.

    Examples
    --------
    >>> is_item(make_item("part-3", "rows", 3)), is_item(("rows", 3)), is_item("rows")
    (True, False, False)
    """
    return (ITEM_MARK, name, base, index)


def is_item(key: Key) -> bool:
    """Whether it is an item, and no key of a task."""
    return type(key) is tuple and len(key) == 4 and key[0] == ITEM_MARK


def base_of(key: Key) -> Key:
    """The task whose result has the item in it; for a key of a task, that.

    Examples
    --------
    >>> base_of(make_item("part-3", "rows", 3)), base_of("rows")
    ('rows', 'rows')
    """
    return key[2] if is_item(key) else key  # type: ignore[index]


def index_of(item: Key) -> int | str:
    """Where in the result of its base an item is.

    Examples
    --------
    >>> index_of(make_item("part-3", "rows", 3))
    3
    """
    return item[3]  # type: ignore[index, return-value]


def name_of(item: Key) -> Key:
    """The name under which the arguments refer to an item.

    Examples
    --------
    >>> name_of(make_item("part-3", "rows", 3))
    'part-3'
    """
    return item[1]  # type: ignore[index]
