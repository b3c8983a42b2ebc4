from __future__ import annotations

from functools import partial

import pytest

from myscheduler.base.errors import KeyTypeError
from myscheduler.graph.naming import name_of, take_naming


def plain(x: int) -> int:
    return x


def keyed(x: int, key: int = 0, pure: int = 0) -> int:
    return x


def anything(**kwargs: int) -> dict[str, int]:
    return kwargs


class Callable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x: int) -> int:
        return x


@pytest.mark.parametrize(
    ("func", "name"), [(plain, "plain"), (partial(partial(plain), 1), "plain"), (Callable(), "Callable"), (int, "int")]
)
def test_name_of(func: object, name: str) -> None:
    assert name_of(func) == name  # type: ignore[arg-type]


@pytest.mark.parametrize("func", [plain, Callable()])
def test_a_key_names_the_task_if_the_function_cannot_take_it(func: object) -> None:
    kwargs = {"key": "k", "pure": True, "x": 1}
    assert take_naming(func, kwargs, False) == ("k", True)  # type: ignore[arg-type]
    assert kwargs == {"x": 1}


@pytest.mark.parametrize("func", [keyed, anything, max, sorted, None])
def test_a_key_goes_to_the_function_if_it_may_take_it(func: object) -> None:
    kwargs = {"key": len}
    assert take_naming(func, kwargs, False) == (None, False)  # type: ignore[arg-type]
    assert kwargs == {"key": len}


def test_pure_goes_to_a_function_that_has_it() -> None:
    kwargs = {"pure": 1}
    assert take_naming(keyed, kwargs, False) == (None, False)
    assert kwargs == {"pure": 1}
    assert take_naming(anything, kwargs, False) == (None, True)
    assert kwargs == {}


def test_dask_key_name_always_names_the_task() -> None:
    kwargs = {"dask_key_name": ("k", 1), "key": 3}
    assert take_naming(keyed, kwargs, True) == (("k", 1), True)
    assert kwargs == {"key": 3}


def test_bad_keys_are_refused() -> None:
    with pytest.raises(KeyTypeError, match="is a list; keys are str, bytes, int, float or tuples"):
        take_naming(plain, {"dask_key_name": ["k"]}, False)
