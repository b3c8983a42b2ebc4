"""A simulated client notices outcomes that are not those of a sequential evaluation."""

from __future__ import annotations

from myscheduler.protocol import messages as m
from myscheduler.sim.clients import SimClient
from myscheduler.sim.graphs import SimTask
from myscheduler.sim.run import Options, Simulation


def _client() -> SimClient:
    return Simulation(1, Options()).add_client()


def test_wrong_values_and_wrong_outcomes_are_named() -> None:
    client = _client()
    client.submit({"a": SimTask(1, (), 0.0), "b": SimTask(2, (), 0.0), "c": SimTask(3, (), 0.0)}, ["a", "b", "c"])
    assert client.open_keys() == ["a", "b", "c"]
    rows = (("a", 8, "int", b"1", None), ("b", 8, "int", b"77", None))
    client._on_messages(((m.IN_MEMORY, rows), (m.FAILED, (("c", b"", "ValueError: no", "", "c"),))))
    assert client.open_keys() == []
    assert client.wrong_keys() == [("b", "has the value 77, not 2"), ("c", "is error, not finished")]


def test_values_that_did_not_come_along_are_fetched() -> None:
    client = _client()
    client.submit({"a": SimTask(1, (), 0.0)}, ["a"])
    client._on_messages(((m.IN_MEMORY, (("a", 8, "int", None, "tcp://w1:1"),)),))
    assert client.open_keys() == ["a"]
    assert "a" in client._fetching
