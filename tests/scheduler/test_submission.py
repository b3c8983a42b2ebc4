"""Graphs, wants, releases, cancellations, retries, scattered data."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from tests.support.scheduler import FUNCTION, PLAIN, Cluster


def test_a_task_runs_once_and_its_client_is_told() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    runs = cluster.runs("w0")
    assert list(runs) == ["x"]
    cluster.finish("w0", runs)
    assert cluster.outcomes() == {"x": "memory"}
    assert cluster.runs("w0") == {}


def test_a_function_is_sent_to_a_worker_once() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    assert cluster.take("w0")[0][1] == ((FUNCTION, b"code"),)
    cluster.submit({"y": ()})
    messages = [x for x in cluster.take("w0") if x[0] == m.COMPUTE]
    assert messages[0][1] == ()


def test_releasing_the_last_future_frees_the_data_and_forgets() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    runs = cluster.runs("w0")
    cluster.finish("w0", runs)
    cluster.say("c", (m.RELEASE, ("x",)))
    assert cluster.core.tasks == {}
    cluster.linger()
    assert cluster.rows("w0", m.FREE) == [("x", runs["x"])]
    assert sum(cluster.core.totals[:6]) == 0


def test_a_key_wanted_by_two_clients_survives_one() -> None:
    cluster = Cluster(workers=1)
    cluster.client("c2")
    cluster.submit({"x": ()})
    cluster.submit({"x": ()}, client="c2")
    cluster.run_all()
    assert cluster.outcomes("c2") == {"x": "memory"}
    cluster.lose("c")
    assert cluster.status("x") == "memory"
    cluster.lose("c2")
    assert cluster.status("x") == "unknown"


def test_inner_results_die_when_their_last_dependent_is_done() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"a": (), "b": ("a",), "c": ("b",)}, wants=["c"])
    cluster.run_all()
    assert cluster.outcomes() == {"c": "memory"}
    assert {key: cluster.status(key) for key in "abc"} == {"a": "released", "b": "released", "c": "memory"}
    cluster.linger()
    assert {row[0] for row in cluster.rows("w0", m.FREE)} == {"a", "b"}
    cluster.say("c", (m.RELEASE, ("c",)))
    assert cluster.core.tasks == {}


def test_slices_of_a_graph_hold_what_later_slices_need() -> None:
    cluster = Cluster(workers=1)
    code = ((FUNCTION, b"code"),)
    cluster.say("c", (m.SUBMIT, 9, code, (PLAIN,), (("a", FUNCTION, b"", (), 0, 0),), (), True))
    cluster.run_all()
    assert cluster.status("a") == "memory"
    cluster.say("c", (m.SUBMIT, 9, (), (PLAIN,), (("b", FUNCTION, b"", ("a",), 1, 0),), (0,), False))
    assert cluster.status("a") == "memory"
    cluster.run_all()
    assert cluster.outcomes() == {"b": "memory"}
    assert cluster.status("a") == "released"


def test_a_client_that_leaves_in_the_middle_of_a_graph_leaves_nothing() -> None:
    cluster = Cluster(workers=1)
    code = ((FUNCTION, b"code"),)
    cluster.say("c", (m.SUBMIT, 9, code, (PLAIN,), (("a", FUNCTION, b"", (), 0, 0),), (), True))
    cluster.lose("c")
    assert cluster.core.tasks == {}
    assert cluster.core.functions == {}


def test_an_unknown_dependency_fails_the_task_with_the_way_out() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"b": ("gone",)})
    [message] = [x for x in cluster.take("c") if x[0] == m.FAILED]
    [(key, payload, text, _, culprit)] = message[1]
    assert (key, payload, culprit) == ("b", b"", "b")
    assert "needs 'gone', which the scheduler does not know" in text
    assert "Keep the future" in text


def test_cancel_takes_dependents_along() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"a": (), "b": ("a",), "other": ()})
    cluster.say("c", (m.CANCEL, 5, ("a",), False, "no longer needed"))
    assert cluster.outcomes() == {"a": "cancelled", "b": "cancelled"}
    assert (m.REPLY, 5, True, None) in cluster.take("c")
    assert cluster.status("other") != "unknown"
    cluster.run_all()


def test_cancel_of_one_client_does_not_take_the_task_from_another() -> None:
    cluster = Cluster(workers=1)
    cluster.client("c2")
    cluster.submit({"x": ()})
    cluster.submit({"x": ()}, client="c2")
    cluster.say("c", (m.CANCEL, 5, ("x",), False, "mine only"))
    cluster.run_all()
    assert cluster.outcomes("c") == {"x": "cancelled"}
    assert cluster.outcomes("c2") == {"x": "memory"}
    cluster.say("c", (m.CANCEL, 6, ("x",), True, "all of it"))
    assert cluster.outcomes("c2") == {"x": "cancelled"}


def test_the_result_of_a_cancelled_run_is_refused_and_its_slot_freed() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    runs = cluster.runs("w0")
    cluster.say("c", (m.CANCEL, 5, ("x",), False, "changed my mind"))
    assert cluster.rows("w0", m.FREE) == [("x", runs["x"])]
    cluster.submit({"y": ()})
    assert cluster.core.workers["w0"].sent >= 1
    cluster.finish("w0", runs)
    assert cluster.rows("w0", m.FREE) == [("x", runs["x"])]
    assert cluster.core.stale["answers"] == 1
    assert cluster.core.workers["w0"].abandoned == {}
    cluster.run_all()
    assert cluster.outcomes()["y"] == "memory"


def test_a_graph_that_arrives_holds_what_was_known_before() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"a": (), "b": ("a",)}, wants=["b"])
    cluster.run_all()
    part = (("a", FUNCTION, b"args", (), 0, 0),)
    rest = (("c", FUNCTION, b"args", ("a",), 1, 0),)
    cluster.say("c", (m.SUBMIT, 90, (), (PLAIN,), part, (), True))
    cluster.say("c", (m.RELEASE, ("b",)))
    cluster.run_all()
    cluster.outcomes()
    cluster.say("c", (m.SUBMIT, 90, (), (PLAIN,), rest, (0,), False))
    cluster.run_all()
    assert cluster.outcomes() == {"c": "memory"}
    cluster.say("c", (m.RELEASE, ("c",)))
    assert cluster.core.tasks == {}


def test_retry_runs_the_one_that_failed_first() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"a": (), "b": ("a",)}, wants=["b"])
    cluster.fail("w0", cluster.runs("w0"))
    assert cluster.outcomes() == {"b": "failed"}
    cluster.say("c", (m.RETRY, 5, ("b",)))
    cluster.run_all()
    assert cluster.outcomes() == {"b": "memory"}


def test_retrying_what_is_not_failed_any_more_is_answered_with_what_it_is() -> None:
    cluster = Cluster(workers=1)
    cluster.client("c2")
    cluster.submit({"x": (), "y": ()})
    cluster.say("c2", (m.WANT, ("x",)))
    cluster.fail("w0", cluster.runs("w0"))
    cluster.say("c2", (m.RETRY, 5, ("x",)))
    cluster.run_all()
    cluster.outcomes()
    cluster.say("c", (m.RELEASE, ("y",)))
    cluster.say("c", (m.RETRY, 6, ("x", "y")))
    assert cluster.outcomes() == {"x": "memory", "y": "cancelled"}


def test_who_retries_wants_the_result_even_if_it_was_taken_away_before() -> None:
    cluster = Cluster(workers=1)
    cluster.client("c2")
    cluster.submit({"x": ()})
    cluster.fail("w0", cluster.runs("w0"))
    cluster.outcomes()
    cluster.say("c2", (m.WANT, ("x",)))
    cluster.say("c", (m.RELEASE, ("x",)))
    cluster.say("c", (m.RETRY, 6, ("x",)))
    cluster.run_all()
    assert cluster.outcomes() == {"x": "memory"}


def test_scattered_data_is_known_and_used_where_it_is() -> None:
    cluster = Cluster(workers=2)
    [(attempt, [(incarnation, address)])] = cluster.call("place", 1, None, False, ("data",))
    assert address == f"tcp://{incarnation}"
    cluster.say("c", (m.PLACED, 7, (("data", attempt, 1000, "bytes", (incarnation,)),)))
    assert cluster.outcomes() == {"data": "memory"}
    cluster.submit({"x": ("data",)})
    assert list(cluster.runs(incarnation)) == ["x"]


def test_scattered_data_that_is_lost_fails_what_needs_it() -> None:
    cluster = Cluster(workers=2)
    [(attempt, [(incarnation, _)])] = cluster.call("place", 1, None, False, None)
    cluster.say("c", (m.PLACED, 7, (("data", attempt, 1000, "bytes", (incarnation,)),)))
    cluster.outcomes()
    cluster.lose(incarnation)
    [message] = [x for x in cluster.take("c") if x[0] == m.FAILED]
    assert message[1][0][2] == "LostDataError: the scattered data 'data' is gone"


def test_data_scattered_under_a_taken_key_is_refused() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.say("c", (m.PLACED, 7, (("x", 99, 10, "int", ("w0",)),)))
    assert cluster.rows("w0", m.FREE) == [("x", 99)]
    cluster.run_all()
    assert cluster.outcomes() == {"x": "memory"}


def test_data_that_was_never_reported_as_placed_is_freed_with_its_client() -> None:
    cluster = Cluster(workers=1)
    [(attempt, _)] = cluster.call("place", 1, None, False, ("data",))
    cluster.lose("c")
    assert cluster.rows("w0", m.FREE) == [("data", attempt)]


def test_place_without_workers_says_so() -> None:
    assert Cluster().call("place", 1, None, False, None) == (False, ("no-workers", "no worker is connected"))


def test_wanting_an_unknown_key_is_answered() -> None:
    cluster = Cluster()
    cluster.say("c", (m.WANT, ("nobody",)))
    assert cluster.outcomes() == {"nobody": "cancelled"}


def test_higher_priority_runs_first_and_later_requests_after_earlier_ones() -> None:
    cluster = Cluster()
    cluster.submit({"first": ()})
    cluster.submit({"second": ()})
    cluster.submit({"urgent": ()}, priority=1)
    cluster.submit({"later": ()}, priority=-0.5)
    cluster.worker("w0")
    order = []
    while runs := cluster.runs("w0"):
        order += list(runs)
        cluster.finish("w0", runs, seconds=1.0)
    assert order == ["urgent", "first", "second", "later"]


def test_a_function_is_dropped_everywhere_with_its_last_user() -> None:
    cluster = Cluster(workers=1)
    cluster.submit({"x": ()})
    cluster.run_all()
    cluster.take("w0")
    cluster.say("c", (m.UNDEFINE, (FUNCTION, b"never heard of")))
    assert cluster.core.functions
    cluster.say("c", (m.RELEASE, ("x",)))
    assert cluster.core.functions == {}
    assert cluster.core.workers["w0"].functions == {}
    assert (m.UNDEFINE, (FUNCTION,)) in cluster.take("w0")
    cluster.submit({"y": ()})
    assert cluster.take("w0")[-1][1] == ((FUNCTION, b"code"),)
