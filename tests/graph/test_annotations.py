from __future__ import annotations

import re
from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.graph.annotations import annotate, current_options, make_options
from myscheduler.graph.delayed import delayed
from myscheduler.graph.task import TaskOptions


def test_blocks_nest_and_end() -> None:
    assert current_options() is None
    with annotate(priority=1, retries=3):
        with annotate(priority=2):
            assert current_options() == TaskOptions(priority=2, retries=3)
        assert current_options() == TaskOptions(priority=1, retries=3)
    assert current_options() is None


def test_calls_made_inside_have_the_options() -> None:
    with annotate(workers=["alice", "bob"], allow_other_workers=True):
        x = delayed(abs)(-1)
        y = x + 1
    z = y + 1
    options = {key.split("-")[0]: task.options for key, task in z.graph.items()}
    assert options["abs"] == TaskOptions(workers=("alice", "bob"), allow_other_workers=True)
    assert [task.options for task in z.graph.values()].count(None) == 1


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({"workers": "alice"}, TaskOptions(workers=("alice",))),
        ({"workers": {"b", "a"}}, TaskOptions(workers=("a", "b"))),
        ({"workers": None}, TaskOptions()),
        ({"resources": {"b": 2, "a": 1}}, TaskOptions(resources=(("a", 1.0), ("b", 2.0)))),
        ({"priority": -1.5}, TaskOptions(priority=-1.5)),
    ],
)
def test_options_as_users_write_them(options: dict[str, Any], made: TaskOptions) -> None:
    assert make_options(**options) == made


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prority": 1}, "tasks have no option 'prority'; options are priority, retries, workers"),
        ({"priority": "high"}, "priority='high' is not a number"),
        ({"priority": float("nan")}, "priority=nan is not a number"),
        ({"retries": -1}, "retries=-1 is not a number of times to try again"),
        ({"retries": True}, "retries=True is not a number of times"),
        ({"timeout": 0}, "timeout=0 leaves a task no time to run; use None for no limit"),
        ({"timeout": "soon"}, "'soon' is not a duration"),
        ({"workers": [1]}, "1 is not a str"),
        ({"workers": []}, "workers is empty, so no worker could run the task"),
        ({"resources": {"GPU": "all"}}, "must map names to amounts"),
        ({"resources": {"GPU": -1}}, "must map names to amounts"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)), annotate(**options):
        pass
