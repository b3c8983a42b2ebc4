"""What is noted, for how long, and how it is given out."""

from __future__ import annotations

from typing import Any

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.limits import MIB
from myscheduler.protocol import messages as m
from myscheduler.protocol.codec import HEADER, Encoder, pack, unpack_all
from myscheduler.scheduler import journal as journals
from myscheduler.scheduler import turns as turns_of_journals
from myscheduler.scheduler.events import Heard, PeerJoined, PeerLeft, Received, Strays, Unsendable
from myscheduler.scheduler.journal import EVENTS, TURN, check_head, decode_event
from myscheduler.scheduler.replay import Replay
from tests.support.scheduler import FUNCTION, PLAIN, Cluster


def records(cluster: Cluster) -> list[Any]:
    return list(unpack_all(cluster.machine.journal.save(), "it"))


def turns(cluster: Cluster) -> list[Any]:
    return [record for record in records(cluster) if record[0] == TURN]


def replayed(cluster: Cluster) -> Replay:
    replay = Replay(cluster.machine.journal.save())
    for _ in replay:
        replay.check()
    return replay


def submit(cluster: Cluster, number: int, payload: bytes) -> Received:
    row = (f"x-{number}", FUNCTION, payload, (), 0, 0)
    return Received("c", ((m.SUBMIT, 1000 + number, ((FUNCTION, b"code"),), (PLAIN,), (row,), None, False),))


def framed(event: Received) -> Received:
    control = bytes(Encoder().encode(1, event.peer, 0, event.messages)[0])[HEADER.size :]
    return Received(event.peer, event.messages, control)


def test_every_event_is_noted_and_read_again() -> None:
    cluster = Cluster(workers=1, journal=MIB)
    cluster.step(Heard(("w0",)), Strays(2), submit(cluster, 0, b"payload"))
    cluster.cut("w0")
    cluster.step(Unsendable("c", m.REPLY, 0, 7, (("x", 1),), (b"f",), "too large"))
    events = [decode_event(record) for turn in turns(cluster) for record in turn[3]]
    assert [type(event) for event in events] == [PeerJoined, PeerJoined, Heard, Strays, Received, PeerLeft, Unsendable]
    assert {type(event).__name__ for event in events} == set(EVENTS)
    assert isinstance(events[1], PeerJoined)
    assert events[1].role is m.Role.WORKER
    assert replayed(cluster).verified == "by a digest of all tables"


def test_frames_are_kept_as_they_came_and_shown_without_payloads() -> None:
    plain, as_frames = Cluster(journal=MIB), Cluster(journal=MIB)
    event = submit(plain, 0, b"secret")
    plain.step(event)
    as_frames.step(framed(event))
    assert turns(plain) == turns(as_frames)
    assert b"secret" not in b"".join(as_frames.machine.journal.save())


def test_frames_that_are_mostly_payload_do_not_fill_the_room() -> None:
    cluster = Cluster(journal=MIB)
    before = cluster.machine.journal.nbytes
    cluster.step(framed(submit(cluster, 0, b"x" * 16_000)))
    assert cluster.machine.journal.nbytes - before < 2000


def test_the_journal_is_bounded_and_never_reaches_back_less_than_half() -> None:
    room = 100_000
    cluster = Cluster(workers=1, journal=room)
    reach = []
    for number in range(400):
        cluster.step(submit(cluster, number, b""))
        cluster.run_all()
        cluster.say("c", (m.RELEASE, (f"x-{number}",)))
        assert cluster.machine.journal.nbytes <= room * 1.05
        reach.append(len(turns(cluster)))
    assert min(reach[200:]) > max(reach) / 3
    assert replayed(cluster).verified == "by a digest of all tables"


def test_it_becomes_smaller_when_nothing_goes_on_and_not_while_it_is_being_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns_of_journals, "PIECE_BYTES", 2000)
    cluster = Cluster(workers=1, journal=MIB)
    journal = cluster.machine.journal
    for number in range(100):
        cluster.step(submit(cluster, number, b""))
        journal.press()
    cluster.run_all()
    noted, before = turns(cluster), journal.nbytes
    journal.press()
    assert journal.nbytes == before  # something has happened
    cluster.call("journal_begin")
    first = cluster.call("journal_part")
    before = journal.nbytes
    for _ in range(3):
        journal.press()
    assert (journal.nbytes, next(unpack_all([first], "it"))[0]) == (before, journals.HEAD)
    while cluster.call("journal_part") is not None:
        pass
    done = []
    for _ in range(20):
        cluster.say("w0", (m.HEARTBEAT, {}))
        done.append(journal.press())
    assert done.count(True) == 1
    assert journal.nbytes < before / 2
    assert turns(cluster)[: len(noted)] == noted
    assert replayed(cluster).verified == "by a digest of all tables"


def test_it_need_not_reach_back_further_than_some_minutes() -> None:
    cluster = Cluster(workers=1, journal=MIB)
    for second in range(0, 2000, 10):
        cluster.now = float(second)
        cluster.say("w0", (m.HEARTBEAT, {}))
    assert journals.ROOM_S / 2 <= replayed(cluster).seconds <= journals.ROOM_S + 10


def test_with_many_tasks_it_goes_on_without_pictures_until_the_room_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "PICTURE_TASKS_MAX", 5)
    cluster = Cluster(journal=20_000)
    for number in range(6):
        cluster.step(submit(cluster, number, b""))
    replay = replayed(cluster)
    assert replay.verified == "by the numbers of attempts, queue entries and tasks after each turn"
    assert len(replay.machine.core.tasks) == 6
    for _ in range(1000):
        cluster.step()
    with pytest.raises(
        UsageError, match="the journal is empty: more happened than fits into 20000 bytes while there were"
    ):
        cluster.machine.journal.save()
    assert cluster.call("journal_begin") is None
    ok, (_, text) = cluster.call("journal_part")
    assert not ok
    assert "the journal is empty" in text
    cluster.say("c", (m.RELEASE, tuple(f"x-{number}" for number in range(6))))
    cluster.step()
    assert replayed(cluster).verified == "by a digest of all tables"


def test_a_client_gets_it_part_by_part() -> None:
    cluster = Cluster(workers=1, journal=MIB)
    cluster.submit({"x": ()})
    assert cluster.call("journal_begin") is None
    parts = []
    while (part := cluster.call("journal_part")) is not None:
        cluster.run_all()  # work goes on meanwhile
        parts.append(part)
    replay = Replay(parts)
    assert len(list(replay)) == replay.turns == 4
    assert replay.machine.core.tasks["x"].status.name == "ASSIGNED"
    ok, (_, text) = cluster.call("journal_part")
    assert not ok
    assert "no journal is being saved here" in text


def test_who_does_not_go_on_asking_is_forgotten() -> None:
    cluster = Cluster(journal=MIB)
    cluster.call("journal_begin")
    cluster.call("journal_part")
    cluster.now = journals.PATIENCE_S + 1
    ok, _ = cluster.call("journal_part")
    assert not ok


def test_two_clients_do_not_get_each_others_parts() -> None:
    cluster = Cluster(journal=MIB)
    cluster.client("c2")
    cluster.call("journal_begin")
    cluster.call("journal_begin", client="c2")
    first = cluster.call("journal_part", client="c2")
    assert next(unpack_all([first], "it"))[0] == journals.HEAD
    ok, (_, text) = cluster.call("journal_part")
    assert not ok
    assert "somebody else has asked" in text


def test_without_room_there_is_none() -> None:
    ok, (code, text) = Cluster().call("journal_begin")
    assert (ok, code) == (False, "journal")
    assert "this scheduler keeps no journal: where it was started, the configuration said journal: 0" in text


@pytest.mark.parametrize("record", [None, (), ("x",) * 5, (journals.HEAD, "0.1", "")])
def test_other_files_are_told_apart(record: object) -> None:
    with pytest.raises(UsageError, match="this is no journal of a scheduler"):
        check_head(record)


def test_journals_of_other_versions_are_refused() -> None:
    with pytest.raises(UsageError, match=r"kept by myscheduler 0\.0\.9, whose tables differ"):
        check_head((journals.HEAD, "0.0.9", "0" * 16, 1, 1))
    assert pack(check_head(records(Cluster(journal=MIB))[0]))
