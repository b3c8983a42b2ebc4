"""What can name a task, and what is said of what cannot."""

from __future__ import annotations

import pytest

from myscheduler.base.errors import KeyTypeError
from myscheduler.base.keys import key_prefix, validate_key


@pytest.mark.parametrize("key", ["x", b"x", 1, 1.5, ("x", 0), ("x", ("y", 1)), "x" * 4096, -(2**63), 2**64 - 1, ()])
def test_valid_keys_are_returned_as_they_are(key: object) -> None:
    assert validate_key(key) is key


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (["x"], "key ['x'] is a list; keys are str, bytes, int, float or tuples of those (write it as a tuple)"),
        (None, "key None is a NoneType"),
        (True, "key True is a bool"),
        (("x", {}), "key ('x', {}) holds {}, which is a dict"),
        (float("nan"), "holds NaN"),
        (2**64, "beyond 64 bits"),
        ("x" * 5000, "is longer than 4096 bytes"),
        ("ü" * 2100, "is longer than 4096 bytes"),
        (b"x" * 5000, "is longer than 4096 bytes"),
    ],
)
def test_invalid_keys_are_named_with_the_reason(key: object, text: str) -> None:
    with pytest.raises(KeyTypeError) as caught:
        validate_key(key)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 400


def test_deeply_nested_keys_are_refused_without_recursion_errors() -> None:
    key: object = "x"
    for _ in range(1000):
        key = (key,)
    with pytest.raises(KeyTypeError, match="deeper than 16"):
        validate_key(key)


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("inc-5f3a9c01-17", "inc"),
        ("read-csv-0123456789abcdef", "read-csv"),
        ("cafe", "cafe"),
        ("x-y", "x-y"),
        (("sum", 1, 2), "sum"),
        (b"load-12345678", "load"),
        (3, "int"),
        ((), "tuple"),
        ("12", "12"),
    ],
)
def test_prefixes_are_what_is_left_without_tokens(key: object, prefix: str) -> None:
    assert key_prefix(key) == prefix  # type: ignore[arg-type]
