"""Sizes and durations as people write them."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final

from .errors import UsageError

_NUMBER: Final = re.compile(r"\s*([+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([^\W\d_]*)\s*", re.IGNORECASE)

_BYTES: Final[dict[str, int]] = {"": 1, "b": 1, "byte": 1, "bytes": 1}
for _power, _letter in enumerate("kmgtpe", start=1):
    _BYTES[_letter] = _BYTES[_letter + "b"] = 1000**_power
    _BYTES[_letter + "i"] = _BYTES[_letter + "ib"] = 1024**_power

_SECONDS: Final[dict[str, float]] = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), 1e-9),
    **dict.fromkeys(("us", "µs", "μs", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}


def parse_bytes(size: str | float) -> int:
    """Read a number of bytes.

    Parameters
    ----------
    size : str, int or float
        Bytes, or a text such as ``"2 GiB"``, ``"1.5MB"``, ``"64k"``. KiB, MiB, ... are powers of 1024, kB, MB, ... of 1000;
        case does not matter.

    Returns
    -------
    int
        Bytes, rounded down.

    Raises
    ------
    UsageError
        It cannot be read, or is negative.

    Examples
    --------
    >>> parse_bytes("2 GiB"), parse_bytes("1.5kB"), parse_bytes(100)
    (2147483648, 1500, 100)
    >>> parse_bytes("2 bananas")
    Traceback (most recent call last):
    ...
    myscheduler.base.errors.UsageError: '2 bananas' is not a size: write bytes as a number, or with a unit such as '2 GiB' \
or '500 MB'
    """
    number = _parse(size, _BYTES)
    if number is None or number < 0 or not math.isfinite(number):
        raise UsageError(f"{size!r} is not a size: write bytes as a number, or with a unit such as '2 GiB' or '500 MB'")
    return int(number)


def parse_seconds(duration: str | float | timedelta | None) -> float | None:
    """Read a duration.

    Parameters
    ----------
    duration : str, int, float, timedelta or None
        Seconds, or a text such as ``"5s"``, ``"100ms"``, ``"2 hours"``.

    Returns
    -------
    float or None
        Seconds; None stays None.

    Raises
    ------
    UsageError
        It cannot be read, or is negative.

    Examples
    --------
    >>> parse_seconds("100ms"), parse_seconds("2 min"), parse_seconds(3), parse_seconds(None)
    (0.1, 120.0, 3.0, None)
    """
    if duration is None:
        return None
    number = duration.total_seconds() if isinstance(duration, timedelta) else _parse(duration, _SECONDS)
    if number is None or number < 0 or math.isnan(number):
        raise UsageError(
            f"{duration!r} is not a duration: write seconds as a number, or with a unit such as '5s', '100ms' or '2 hours'"
        )
    return float(number)


def _parse(value: object, units: dict[str, int] | dict[str, float]) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    if not isinstance(value, str):
        return None
    match = _NUMBER.fullmatch(value)
    if match is None:
        # "GiB" alone means one of it.
        unit = units.get(value.strip().lower()) if value.strip() else None
        return None if unit is None else float(unit)
    unit = units.get(match[2].lower())
    if unit is None:
        return None
    number = match[1].replace("_", "")
    return int(number) * unit if number.lstrip("+-").isdigit() else float(number) * unit


def format_bytes(size: float) -> str:
    """Write a number of bytes so that people can read it.

    Examples
    --------
    >>> format_bytes(1), format_bytes(1536), format_bytes(3 * 2**30)
    ('1 B', '1.50 KiB', '3.00 GiB')
    """
    for power, unit in ((6, "EiB"), (5, "PiB"), (4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        # Below 0.995 the two digits after the point would still be those of the smaller unit.
        if abs(size) >= 1024**power * 0.995:
            return f"{size / 1024**power:.2f} {unit}"
    return f"{size:.0f} B"


def format_seconds(seconds: float) -> str:
    """Write a duration so that people can read it.

    Examples
    --------
    >>> format_seconds(0.00123), format_seconds(12.3), format_seconds(3700), format_seconds(200_000)
    ('1.23 ms', '12.30 s', '1h 1m', '2d 7h')
    """
    if seconds < 0:
        return "-" + format_seconds(-seconds)
    if seconds >= 86_400:
        return f"{int(seconds // 86_400)}d {int(seconds % 86_400 // 3600)}h"
    if seconds >= 3600:
        return f"{int(seconds // 3600)}h {int(seconds % 3600 // 60)}m"
    if seconds >= 60:
        return f"{int(seconds // 60)}m {int(seconds % 60)}s"
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.2f} s" if seconds else "0 s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds * 1e6:.2f} us"
