from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myscheduler.base.errors import UsageError
from myscheduler.base.units import format_bytes, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (1.9, 1),
        ("100", 100),
        ("1_000 B", 1000),
        ("1kB", 1000),
        ("1 KB", 1000),
        ("64k", 64_000),
        ("1 KiB", 1024),
        ("1.5 mib", 3 * 2**19),
        ("2GiB", 2**31),
        (" 2 TB ", 2 * 10**12),
        ("1e3", 1000),
        ("1e3 MB", 10**9),
        (".5 GB", 5 * 10**8),
        ("MB", 10**6),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_parse_bytes(text: str | float, size: int) -> None:
    assert parse_bytes(text) == size
    assert type(parse_bytes(text)) is int


@pytest.mark.parametrize("text", ["", "2 bananas", "1 2", "-1", -1, float("nan"), float("inf"), True, None, "1f", "s"])
def test_parse_bytes_refuses(text: object) -> None:
    with pytest.raises(UsageError, match="is not a size: write bytes as a number, or with a unit"):
        parse_bytes(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        (3, 3.0),
        ("5s", 5.0),
        ("100ms", 0.1),
        ("100 us", 1e-4),
        ("1m", 60.0),
        ("2 hours", 7200.0),
        ("1 day", 86400.0),
        ("1.5", 1.5),
        (timedelta(minutes=1), 60.0),
        (float("inf"), float("inf")),
    ],
)
def test_parse_seconds(text: str | float | None, seconds: float | None) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "fast", "5 bytes", -1, "-1s", float("nan"), False, timedelta(-1)])
def test_parse_seconds_refuses(text: object) -> None:
    with pytest.raises(UsageError, match="is not a duration: write seconds as a number, or with a unit"):
        parse_seconds(text)  # type: ignore[arg-type]


@given(st.integers(0, 2**70))
def test_formatted_bytes_read_back_as_nearly_the_same(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=0.01)
    assert len(format_bytes(size)) <= 12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.000_002, "2.00 us"),
        (0.5, "500.00 ms"),
        (1, "1.00 s"),
        (61, "1m 1s"),
        (7260, "2h 1m"),
        (90_000, "1d 1h"),
        (-1, "-1.00 s"),
    ],
)
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
