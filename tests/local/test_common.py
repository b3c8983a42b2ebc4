from __future__ import annotations

import re
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.system import cpu_count
from myscheduler.local.common import check_options, workers_wanted


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
