"""What users may ask for when a task raises."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest

from myscheduler import Retry, UsageError


def test_durations_are_read_and_classes_gathered() -> None:
    retry = Retry(3, on=[OSError, ValueError], delay="500 ms", backoff=3, max_delay="1 min")
    assert (retry.times, retry.on) == (3, (OSError, ValueError))
    assert (retry.delay, retry.backoff, retry.max_delay) == (0.5, 3.0, 60.0)
    assert Retry(2) == Retry(2, on=None, delay=0, backoff=2.0, max_delay=None)
    assert Retry(1, on=OSError).on == (OSError,)


def test_it_is_a_value() -> None:
    retry = Retry(2, on=OSError, delay=1)
    assert pickle.loads(pickle.dumps(retry)) == retry
    assert len({retry, Retry(2, on=OSError, delay=1.0)}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": -1}, "retries=-1 is not a number of times to try again (0, 1, 2, ...), nor a Retry"),
        ({"times": True}, "retries=True is not a number"),
        ({"on": ["OSError"]}, "must be exception classes, such as OSError; 'OSError' is none"),
        ({"on": int}, "<class 'int'> is none"),
        ({"on": ()}, "on is empty, so nothing would be tried again; leave it out for all errors"),
        ({"delay": "soon"}, "'soon' is not a duration"),
        ({"backoff": 0.5}, "backoff=0.5 is not a factor from 1 (equal waits) to 1000"),
        ({"backoff": float("nan")}, "backoff=nan is not a factor"),
        ({"delay": 2, "max_delay": 1}, "max_delay=1 is shorter than delay=2, the first wait"),
    ],
)
def test_nonsense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Retry(**arguments)
