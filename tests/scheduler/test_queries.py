"""Questions by name."""

from __future__ import annotations

import pytest

from myscheduler.protocol import messages as m
from myscheduler.scheduler import queries
from myscheduler.scheduler.events import PeerJoined
from tests.support.scheduler import VERSIONS, Cluster


def test_an_unknown_method_is_answered_with_the_known_ones() -> None:
    ok, (code, text) = Cluster().call("who_hass")
    assert (ok, code) == (False, "usage")
    assert "unknown method 'who_hass'; known are explain, has_what" in text


def test_observers_may_look_but_not_command() -> None:
    cluster = Cluster(workers=1)
    cluster.step(PeerJoined("o", m.Role.OBSERVER, {"versions": VERSIONS}))
    cluster.take("o")
    assert cluster.call("overview", client="o")["clients"] == 1
    assert cluster.call("shutdown", client="o") == (False, ("role", "a observer may not call 'shutdown'"))


def test_bad_arguments_drop_the_peer_that_sent_them() -> None:
    cluster = Cluster(workers=1)
    cluster.say("c", (m.CALL, 1, "who_has", ()))
    assert cluster.disconnected["c"].startswith("who_has: bad arguments")


def test_facts_about_workers_and_keys() -> None:
    cluster = Cluster(workers=2, nthreads=3)
    cluster.submit({"x": ()})
    assert cluster.call("nthreads") == [("tcp://w0", 3), ("tcp://w1", 3)]
    assert [keys for _, keys in cluster.call("processing")] == [("x",), ()]
    cluster.run_all()
    assert cluster.call("who_has", None) == [("x", ("tcp://w0",))]
    assert cluster.call("who_has", ("nobody",)) == [("nobody", ())]
    assert cluster.call("has_what", ("w0",)) == [("tcp://w0", ("x",))]
    info = cluster.call("scheduler_info")
    assert (info["tasks"], info["clients"], len(info["workers"])) == (1, 1, 2)
    assert info["workers"][0]["stored"] == 1


def test_the_overview_counts_by_kind_of_task() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"inc-1": (), "inc-2": (), "sum": ("inc-1", "inc-2")}, wants=["sum"])
    [inc, total] = cluster.call("overview")["progress"]
    assert (inc["name"], inc["assigned"], total["name"], total["waiting"]) == ("inc", 2, "sum", 1)
    cluster.run_all()
    [inc, total] = cluster.call("overview")["progress"]
    assert (inc["done"], inc["released"], total["memory"]) == (2, 2, 1)


def test_progress_counts_what_is_still_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(workers=1)
    cluster.submit(
        {"other": (), "inc-1": (), "inc-2": (), "sum": ("inc-1", "inc-2"), "x": ("sum",)}, wants=["x", "other"]
    )
    rows = cluster.call("progress", ("x", "nobody"))
    assert sorted((name, waits + runs, failed) for name, waits, runs, failed in rows) == [
        ("inc", 2, 0),
        ("sum", 1, 0),
        ("x", 1, 0),
    ]
    monkeypatch.setattr(queries, "COUNTED_MAX", 3)
    assert cluster.call("progress", ("x",)) is None
    cluster.run_all()
    assert cluster.call("progress", ("x",)) == []


def test_data_is_placed_by_threads_in_turn_or_everywhere() -> None:
    cluster = Cluster(workers=2)
    cluster.worker("w2", nthreads=2)
    rows = cluster.call("place", 4, None, False, None)
    assert sorted(row[1][0][0] for row in rows) == ["w0", "w1", "w2", "w2"]
    [(_, everywhere)] = cluster.call("place", 1, None, True, None)
    assert [incarnation for incarnation, _ in everywhere] == ["w0", "w1", "w2"]
