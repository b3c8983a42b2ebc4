"""Virtual time, and wires that keep order and can be cut."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.errors import ProtocolError
from myscheduler.base.ids import seeded
from myscheduler.protocol import messages as m
from myscheduler.sim.world import Wire, World


def test_events_come_in_order_of_time_then_of_asking() -> None:
    world = World(seeded(1))
    seen: list[str] = []
    for seconds, name in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        world.after(seconds, lambda name=name: seen.append(name))  # type: ignore[misc]
    while world.step():
        pass
    assert seen == ["a", "b", "c"]
    assert (world.now, world.steps) == (2.0, 3)


def test_a_wire_delivers_everything_in_order() -> None:
    world = World(seeded(2))
    arrived: list[Any] = []
    wire = Wire(world, m.Role.CLIENT, "ab" * 8, lambda messages: arrived.extend(messages))
    sent = [(m.RELEASE, (f"x-{index}",)) for index in range(200)]
    for message in sent:
        wire.send([message])
    while world.step():
        pass
    assert arrived == sent


def test_nothing_comes_out_of_a_cut_wire() -> None:
    world = World(seeded(3))
    arrived: list[Any] = []
    wire = Wire(world, m.Role.CLIENT, "ab" * 8, lambda messages: arrived.extend(messages))
    wire.send([(m.RELEASE, ("x",))])
    wire.cut = True
    wire.send([(m.RELEASE, ("y",))])
    while world.step():
        pass
    assert arrived == []


def test_messages_are_validated_on_the_way() -> None:
    world = World(seeded(4))
    wire = Wire(world, m.Role.CLIENT, "ab" * 8, lambda messages: None)
    wire.send([(m.RESULTS, ())])
    with pytest.raises(ProtocolError, match="a client may not send RESULTS"):
        world.step()
