"""A simulated client notices outcomes that are not those of a sequential evaluation, and second outcomes."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.protocol import messages as m
from myscheduler.sim.clients import SimClient
from myscheduler.sim.graphs import SimTask
from myscheduler.sim.run import Options, Simulation


def _client(*keys: str) -> SimClient:
    client = Simulation(1, Options()).add_client()
    client.graph = {key: SimTask(number, (), 0.0) for number, key in enumerate(keys, 1)}
    client.wanted = dict.fromkeys(keys)
    client.submit()
    return client


def _tell(client: SimClient, *messages: Any) -> None:
    client._on_messages(messages)


def test_wrong_values_and_wrong_outcomes_are_named() -> None:
    client = _client("a", "b", "c")
    assert client.open_keys() == ["a", "b", "c"]
    rows = (("a", 8, "int", b"1", None), ("b", 8, "int", b"77", None))
    _tell(client, (m.IN_MEMORY, rows), (m.FAILED, (("c", b"", "ValueError: no", "", "c"),)))
    assert client.open_keys() == []
    assert client.wrong_keys() == [
        ("b", "has the value 77, not 2"),
        ("c", "failed with 'ValueError: no', should be 3"),
    ]


def test_values_that_did_not_come_along_are_fetched() -> None:
    client = _client("a")
    _tell(client, (m.IN_MEMORY, (("a", 8, "int", None, "tcp://w1:1"),)))
    assert client.open_keys() == ["a"]
    assert "a" in client._fetching


def test_a_value_that_cannot_be_had_is_asked_for_again_unless_there_is_an_excuse() -> None:
    client = _client("a")
    _tell(client, (m.IN_MEMORY, (("a", 8, "int", None, "tcp://w1:1"),)))
    _tell(client, (m.DATA, client.machine._outbox._next_request, (), (("a", "not held here"),)))
    assert (client.open_keys(), "a" in client._fetching) == (["a"], True)
    client.simulation.losses = 3
    _tell(client, (m.DATA, client.machine._outbox._next_request, (), (("a", "KilledWorkerError: so sorry"),)))
    assert (client.open_keys(), "a" in client._fetching) == ([], False)
    assert client.wrong_keys() == []


def test_only_what_somebody_cancels_may_be_cancelled() -> None:
    client = _client("a", "b")
    client.may_be_cancelled["a"] = None
    _tell(client, (m.CANCELLED, (("a", "why not"), ("b", "why not"))))
    assert client.wrong_keys() == [("b", "is cancelled, not finished")]


def test_a_second_outcome_is_an_error() -> None:
    client = _client("a")
    _tell(client, (m.FAILED, (("a", b"", "ValueError: no", "", "a"),)))
    client.records["a"].state = "finished"
    with pytest.raises(AssertionError, match="future 'a' was error and is finished now"):
        client._look()


def test_requests_are_open_until_they_are_answered_once() -> None:
    client = _client("a")
    client.cancel(["a"], force=False)
    client.call("restart")
    assert client.open_requests() == ["cancel"]
    request = client.machine._outbox._next_request - 1
    _tell(client, (m.REPLY, request, True, None))
    assert client.open_requests() == []
    assert client.records["a"].state == "cancelled"


def test_nothing_stays_pending_when_the_connection_is_gone() -> None:
    client = _client("a")
    client.link.rejected = True
    client._on_closed(client.link, "reset")
    assert client.records["a"].state == "lost"
    assert not client.connected


def _until(simulation: Simulation, seconds: float) -> None:
    while simulation.world.now < seconds:
        assert simulation.world.step()


def _connected() -> SimClient:
    simulation = Simulation(1, Options())
    simulation.add_worker()
    client = simulation.add_client()
    _until(simulation, 1.0)
    return client


def test_a_client_comes_back_after_its_link_broke() -> None:
    client = _connected()
    first = client.link
    first.lose("reset")
    _until(client.simulation, 10.0)
    assert client.link is not first
    assert first.other.closed  # the scheduler has replaced it
    assert client.connected
    assert not client.machine.away


def test_being_cut_off_without_need_is_an_error() -> None:
    client = _connected()
    client.machine.farewell = "go away"
    with pytest.raises(AssertionError, match="was cut off without need: reset; go away"):
        client._on_closed(client.link, "reset")
