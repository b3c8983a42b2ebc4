from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from myscheduler.base import config
from myscheduler.base.errors import UsageError
from myscheduler.base.system import cpu_count
from myscheduler.local.common import check_options, choose_pool, workers_wanted


def test_options() -> None:
    check_options("threads", {"pool": None, "priority": 1, "workers": "alice"}, "pool")
    with pytest.raises(UsageError, match="the synchronous scheduler has no option 'pool'; it has none"):
        check_options("synchronous", {"pool": None})


def test_workers_wanted() -> None:
    assert workers_wanted(3) == 3
    assert workers_wanted(None) == cpu_count()


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2"])
def test_bad_numbers_of_workers(bad: Any) -> None:
    with pytest.raises(UsageError, match=re.escape(f"num_workers={bad!r} is not a number of workers")):
        workers_wanted(bad)


def test_what_the_call_says_comes_before_what_is_configured() -> None:
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        with config.set(num_workers=3):
            assert choose_pool({}) == (None, 3)
            assert choose_pool({"num_workers": 2}) == (None, 2)
            assert choose_pool({"pool": first}) == (first, None)
            with config.set(pool=second):
                assert choose_pool({}) == (second, None)
                assert choose_pool({"num_workers": 2}) == (second, 2)
                assert choose_pool({"pool": first}) == choose_pool({}, first) == (first, None)
        assert choose_pool({}) == (None, None)
