from __future__ import annotations

from myscheduler.base.errors import CancelledError
from myscheduler.client.progress import KINDS_SHOWN, Progress
from myscheduler.client.records import CANCELLED, FINISHED, Ending, Record


def records(*keys: str) -> list[Record]:
    return [Record(key) for key in keys]


def finish(record: Record) -> None:
    record.state, record.outcome = FINISHED, (record.key, 1, "int", b"", None)


def cancel(record: Record) -> None:
    record.state, record.outcome = CANCELLED, Ending(CancelledError, "by me")


def look(progress: Progress, rows: list[tuple[str, int, int, int]] | None) -> None:
    progress.take_stock()
    progress.update(rows)


def texts(progress: Progress) -> dict[str, str]:
    return {kind.name: kind.text() for kind in progress.shown()}


def test_without_the_scheduler_the_futures_themselves_are_counted() -> None:
    first, second, third = records("inc-1", "inc-2", "sum-1")
    progress = Progress([first, second, third])
    look(progress, None)
    assert texts(progress) == {"inc": "0/2", "sum": "0/1"}
    finish(first)
    cancel(third)
    look(progress, None)
    assert texts(progress) == {"inc": "1/2", "sum": "0/1, 1 failed"}
    assert progress.pending == [second]
    finish(second)
    look(progress, None)
    assert progress.pending == []
    assert texts(progress)["inc"] == "2/2"


def test_what_the_futures_need_is_counted_as_well() -> None:
    (total,) = records("sum-1")
    progress = Progress([total])
    look(progress, [("inc", 6, 2, 0), ("sum", 1, 0, 0)])
    assert texts(progress) == {"inc": "0/8, 2 on workers", "sum": "0/1"}
    look(progress, [("inc", 1, 2, 1), ("sum", 1, 0, 0)])
    assert texts(progress) == {"inc": "4/8, 2 on workers, 1 failed", "sum": "0/1"}
    look(progress, [("inc", 12, 0, 0), ("sum", 1, 0, 0)])  # lost and made again
    assert texts(progress)["inc"] == "0/13, 1 failed"
    finish(total)
    look(progress, [])
    assert texts(progress) == {"inc": "12/13, 1 failed", "sum": "1/1"}


def test_some_futures_are_done_before_one_looks() -> None:
    first, second = records("inc-1", "inc-2")
    finish(first)
    progress = Progress([first, second])
    look(progress, [("inc", 0, 1, 0)])
    assert texts(progress) == {"inc": "1/2, 1 on workers"}


def test_what_ends_between_question_and_answer_is_counted_once() -> None:
    first, second = records("inc-1", "inc-2")
    progress = Progress([first, second])
    progress.take_stock()
    finish(first)
    progress.update([("inc", 2, 0, 0)])  # the answer was under way
    assert texts(progress) == {"inc": "0/2"}
    progress.take_stock()
    finish(second)
    progress.update([])  # the scheduler was faster
    assert texts(progress) == {"inc": "2/2"}
    third = Progress(records("inc-3"))
    look(third, [])
    assert texts(third) == {"inc": "1/1"}


def test_many_kinds_are_added_up() -> None:
    names = [f"kind{chr(97 + i)}" for i in range(20)]
    progress = Progress(records(*names, "large-1", "large-2"))
    look(progress, [(name, 1, 1, 1) for name in names] + [("large", 9, 0, 0)])
    shown = texts(progress)
    assert len(shown) == KINDS_SHOWN
    assert shown["large"] == "0/9"
    assert shown["10 other kinds"] == "0/30, 10 on workers, 10 failed"


def test_drawing() -> None:
    first, second = records("inc-1", "total-1")
    progress = Progress([first, second])
    assert progress.draw(0, 4) == "0.0 s"
    finish(first)
    look(progress, [("total", 1, 0, 0)])
    assert progress.draw(1.26, 4) == "total  [    ] 0/1\ninc    [####] 1/1\n1.3 s"
    page = progress.to_html(1.26)
    assert "width:100.0%" in page
    assert "1.3 s" in page
