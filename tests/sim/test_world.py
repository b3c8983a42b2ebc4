"""Virtual time, and processes that stop, die, and have clocks of their own."""

from __future__ import annotations

from myscheduler.base.ids import seeded
from myscheduler.sim.world import Process, World


def test_events_come_in_order_of_time_then_of_asking() -> None:
    world = World(seeded(1))
    seen: list[str] = []
    for seconds, name in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        world.after(seconds, lambda name=name: seen.append(name))  # type: ignore[misc]
    while world.step():
        pass
    assert seen == ["a", "b", "c"]
    assert (world.now, world.steps) == (2.0, 3)


def test_what_is_due_while_a_process_stands_still_happens_in_order_when_it_goes_on() -> None:
    world = World(seeded(1))
    process = Process(world)
    seen: list[tuple[str, float]] = []
    for seconds, name in ((1.0, "a"), (2.0, "b"), (7.0, "c")):
        process.after(seconds, lambda name=name: seen.append((name, world.now)))  # type: ignore[misc]
    process.freeze(5.0)
    while world.step():
        pass
    assert seen == [("a", 5.0), ("b", 5.0), ("c", 7.0)]


def test_they_keep_that_order_when_it_stops_for_longer_meanwhile() -> None:
    world = World(seeded(1))
    process = Process(world)
    seen: list[str] = []
    process.after(1.0, lambda: seen.append("a"))
    process.after(3.0, lambda: seen.append("b"))
    process.freeze(4.0)
    world.after(2.0, lambda: process.freeze(10.0))
    while world.step():
        pass
    assert seen == ["a", "b"]


def test_the_dead_do_nothing() -> None:
    world = World(seeded(1))
    process = Process(world)
    seen: list[int] = []
    process.after(1.0, lambda: seen.append(1))
    process.alive = False
    while world.step():
        pass
    assert seen == []


def test_clocks_differ_and_jump_forward() -> None:
    world = World(seeded(1))
    one, other = Process(world), Process(world)
    assert one.clock != other.clock
    before = one.clock
    one.jump(60.0)
    assert one.clock == before + 60.0
    assert world.step()  # it looks at its timers at once
