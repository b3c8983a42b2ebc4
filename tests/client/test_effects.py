from __future__ import annotations

from myscheduler.client.effects import Answer, Effects, Request


def test_effects_begin_empty_and_are_not_shared() -> None:
    first, second = Effects(), Effects()
    first.settled["waiter"] = []
    first.answers.append(Answer("token", True, 1))
    assert (second.settled, second.answers) == ({}, [])


def test_a_request_concerns_no_records_unless_told() -> None:
    assert Request("token", 17) == ("token", 17, (), "")
