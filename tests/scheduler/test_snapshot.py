"""Tables as values and back."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from myscheduler.base.errors import InternalError, UsageError
from myscheduler.base.items import make_item
from myscheduler.protocol import messages as m
from myscheduler.protocol.codec import pack, unpack
from myscheduler.scheduler import snapshot
from myscheduler.scheduler.check import check
from myscheduler.scheduler.snapshot import Picture, digest, restore
from tests.support.scheduler import Cluster


def busy() -> Cluster:
    """A cluster in which there is a bit of everything."""
    cluster = Cluster(workers=2, nthreads=1, resources={"GPU": 1})
    cluster.submit({"a": (), "b": ("a",), ("c", 1): ("b", "a"), "far": ()})
    cluster.submit({"gpu": (), "gpu2": ()}, resources=(("GPU", 1.0),))
    cluster.submit({"again": ()}, retries=2, terms=(60.0, 1.0, None, b"secret", 3.0), priority=5)
    cluster.submit({"nowhere": ()}, workers=("nobody",))
    cluster.submit({"part": (make_item("n", "nowhere", 0),)})
    for worker in ("w0", "w1"):
        runs = cluster.runs(worker)
        cluster.fail(worker, {key: attempt for key, attempt in runs.items() if key == "again"})
        cluster.finish(worker, {key: attempt for key, attempt in runs.items() if key != "again"})
    cluster.say("c", (m.FETCH, 90, ("b", "nowhere")), (m.CALL, 91, "wait_for_workers", (3,)))
    cluster.call("worker_died", "w9", 1, "exit", "secret words", (5,))
    return cluster


def encoded(cluster: Cluster) -> list[Any]:
    return [row for part in Picture(cluster.machine.tables()).slices(rows=3) for row in part]


def test_what_is_restored_is_the_same_and_goes_on_alike() -> None:
    cluster, other = busy(), Cluster()
    vars(other.machine).update(restore(unpack(pack(encoded(cluster)))))
    other.core = other.machine.core
    check(other.core)
    assert digest(other.machine.tables()) == digest(cluster.machine.tables())
    cluster.lose("w0")
    other.lose("w0")
    cluster.now = other.now = 61.0
    cluster.step()
    other.step()
    assert digest(other.machine.tables()) == digest(cluster.machine.tables())
    assert [ts.status for ts in other.core.tasks.values()] == [ts.status for ts in cluster.core.tasks.values()]


def test_payloads_and_texts_stay_out() -> None:
    cluster = busy()
    cluster.submit({"bad": ()}, priority=9)
    cluster.core.tasks["bad"].payload = b"secret"
    for worker in ("w0", "w1"):
        runs = {key: attempt for key, attempt in cluster.runs(worker).items() if key == "bad"}
        rows = tuple((key, run, b"secret", "ValueError: secret", "secret", 0, 0.0, 0.1) for key, run in runs.items())
        cluster.say(worker, (m.ERRORS, rows))
    assert b"secret" not in pack(encoded(cluster))


def test_the_digest_notices_every_field() -> None:
    cluster = busy()
    before = digest(cluster.machine.tables())
    cluster.core.tasks["far"].retries += 1
    assert digest(cluster.machine.tables()) != before
    cluster.core.tasks["far"].retries -= 1
    assert digest(cluster.machine.tables()) == before
    next(iter(cluster.core.workers.values())).occupancy += 1e-9
    assert digest(cluster.machine.tables()) != before


def test_a_picture_does_not_change_with_the_tables() -> None:
    cluster = busy()
    picture = Picture(cluster.machine.tables())
    rows = [row for part in picture.slices() for row in part]
    cluster.run_all()
    cluster.lose("w1")
    assert [row for part in picture.slices() for row in part] == rows
    assert len(picture) == len(rows)


def test_an_unknown_class_is_refused_by_name() -> None:
    class Novelty:
        pass

    with pytest.raises(InternalError, match=r"a Novelty is in the scheduler's tables; enter it into snapshot\.CLASSES"):
        Picture({"new": [Novelty()]})


@pytest.mark.parametrize(
    "rows", [[], [("", 1)], [("", (3, 7))], [("", (2,)), ("Core", (1, 2))], [("", (2,)), ("os", ())]]
)
def test_rows_that_are_none_are_refused(rows: list[Any]) -> None:
    with pytest.raises(UsageError, match="the tables in this journal"):
        restore(rows)


def test_versions_are_told_apart_by_their_fields() -> None:
    assert snapshot.fingerprint() == snapshot.fingerprint()
    assert len(snapshot.fingerprint()) == 16


def test_a_picture_that_is_pressed_shows_the_same_and_keeps_nothing_else() -> None:
    cluster = busy()
    task = cluster.core.tasks["a"]
    before = sys.getrefcount(task)
    picture, other = Picture(cluster.machine.tables()), Picture(cluster.machine.tables())
    assert sys.getrefcount(task) > before
    rows, steps = encoded(cluster), 0
    while picture.press(rows=7):
        steps += 1
        assert unpack(pack([row for part in picture.slices() for row in part])) == unpack(pack(rows))
        assert len(picture) == len(rows)
    assert steps == -(-len(rows) // 7)
    assert 0 < picture.pressed_bytes < len(pack(rows))
    assert (other.press(), other.press()) == (True, False)
    assert list(other.digest())[-1] == digest(cluster.machine.tables())
    assert sys.getrefcount(task) == before
