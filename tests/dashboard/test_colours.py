"""Colours of kinds of tasks."""

from __future__ import annotations

from myscheduler.dashboard.colours import FAILED, PALETTE, Colours


def test_a_kind_keeps_its_colour() -> None:
    colours = Colours()
    first = {kind: colours.of(kind) for kind in ("inc", "add", "read-csv")}
    for i in range(100):
        colours.of(f"other-{i}")
    assert {kind: colours.of(kind) for kind in first} == first


def test_no_two_kinds_share_a_colour_while_there_are_enough() -> None:
    colours = Colours()
    assert len({colours.of(f"kind {i}") for i in range(len(PALETTE))}) == len(PALETTE)


def test_a_colour_depends_on_the_name_alone() -> None:
    assert (Colours().of("inc"), Colours().of("add")) == ("#e0a03c", "#c0946c")


def test_red_is_for_failures() -> None:
    assert FAILED not in PALETTE


def test_endless_kinds_do_not_fill_the_memory() -> None:
    colours = Colours()
    for i in range(10_000):
        colours.of(f"kind-{i}")
    assert len(colours._taken) <= 4096
