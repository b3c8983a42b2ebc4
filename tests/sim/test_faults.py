"""Each kind of fault really happens, alone and among others, and does no harm."""

from __future__ import annotations

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.sim import Options, simulate
from myscheduler.sim.faults import FAULTS

#: Retries need failed tasks, attaching needs a second client: they happen in few seeds.
SEEDS = 200


@pytest.mark.parametrize("name", FAULTS)
def test_each_kind_happens_when_it_is_selected(name: str) -> None:
    needs = ("resubmit",) if name == "retry" else ()
    counts = (dict(simulate(seed, Options(faults=(name, *needs))).faults) for seed in range(SEEDS))
    found = next(count for count in counts if name in count)
    assert found.keys() <= {name, *needs}


def test_none_happens_when_none_is_selected() -> None:
    assert all(simulate(seed, Options(faults=())).faults == () for seed in range(10))


def test_unknown_kinds_are_refused_in_words() -> None:
    with pytest.raises(UsageError, match="there are no faults named flood, fire; known are kill, vanish"):
        Options(faults=("flood", "kill", "fire"))
