"""The first page's document: what is sent to a browser, and how much."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bokeh.document import Document

from myscheduler.dashboard.colours import FAILED
from myscheduler.dashboard.model import Model
from myscheduler.dashboard.pages.status import LABELS_MAX, UNACKNOWLEDGED_MAX, StatusPage, build
from myscheduler.dashboard.stream import RUNS_KEPT, RUNS_PER_UPDATE

T = 1_700_000_000.0


def rows(count: int, worker: str = "w", start: float = T, ok: bool = True) -> list[Any]:
    return [(f"inc-{i}", worker, 0, start + i, 0.9, ok) for i in range(count)]


def model_with(*batches: list[Any]) -> Model:
    model = Model("c")
    for batch in batches:
        model.add_runs(batch)
        model.tick(T)
    return model


def names(page: StatusPage) -> list[str]:
    return list(page.runs.data["name"])


def test_a_new_page_shows_what_is_there() -> None:
    page = StatusPage(Document(), model_with(rows(2), rows(1, ok=False)))
    assert names(page) == ["inc-0", "inc-1", "inc-0"]
    assert page.runs.data["left"][0] == T * 1e3
    assert page.runs.data["colour"][-1] == FAILED
    assert json.loads(page.numbers.data["json"][0])["cluster"]["name"] == "c"


def test_updates_add_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(rows(3))
    page = StatusPage(Document(), model)
    before = page.runs.data["name"]
    model.add_runs(rows(2, start=T + 10))
    model.tick(T + 12)
    page.update()
    assert len(names(page)) == 5
    assert page.runs.data["name"] is before, "streamed, not replaced"
    assert len(page.history.data["time"]) == 2
    page.update()
    assert len(names(page)) == 5


def test_everything_is_sent_again_when_lanes_move() -> None:
    model = model_with(rows(1, "b"))
    page = StatusPage(Document(), model)
    model.add_runs(rows(1, "a"))
    model.set_overview(T, {"workers": ({"incarnation": "b", "name": "2"}, {"incarnation": "a", "name": "1"})})
    model.tick(T)
    page.update()
    assert dict(zip(page.runs.data["worker"], page.runs.data["y"], strict=True)) == {
        "worker 2, thread 0": 1,
        "worker 1, thread 0": 0,
    }
    assert page.stream.yaxis[0].major_label_overrides == {0.0: "worker 1", 1.0: "worker 2"}


def test_a_browser_gets_little_however_much_there_is() -> None:
    model = Model()
    page = StatusPage(Document(), model)
    for step in range(30):
        before = len(names(page))
        model.add_runs(
            [(f"{kind}-{i}", "w", lane, T + step + i * 0.001, 0.0005, True)
             for i, kind in zip(range(900), "abc" * 300, strict=True) for lane in range(8)]
        )  # fmt: skip
        model.tick(T + step + 1)
        page.update()
        assert len(names(page)) - before <= RUNS_PER_UPDATE
    assert len(names(page)) <= RUNS_KEPT


class Ticking(Document):
    """Runs callbacks for the next tick at once."""

    def add_next_tick_callback(self, callback: Any) -> Any:
        callback()


def test_a_slow_browser_is_left_in_peace_and_then_gets_the_rest() -> None:
    model = model_with(rows(1))
    page = StatusPage(Ticking(), model)
    for step in range(10):
        model.add_runs(rows(1, start=T + step))
        model.tick(T + step)
        page.changed()
    sent = page.numbers.data["sent"][0]
    assert sent == UNACKNOWLEDGED_MAX + 1
    page.numbers.tags = [sent]
    page.changed()
    assert len(names(page)) == 11


def test_hostile_acknowledgements_are_ignored() -> None:
    page = StatusPage(Ticking(), model_with(rows(1)))
    page.numbers.tags = ["<b>"]
    page.changed()
    assert page.numbers.data["sent"] == [2]


def test_names_that_bokeh_would_typeset_are_defused() -> None:
    model = Model()
    model.set_overview(T, {"workers": ({"incarnation": "a", "name": "$$\\href{x}$$"},)})
    model.add_runs(rows(1, "a"))
    model.tick(T)
    page = StatusPage(Document(), model)
    assert "$$" not in str(page.stream.yaxis[0].major_label_overrides)


def test_too_many_workers_for_labels_go_without() -> None:
    model = model_with([("x", f"w{i}", 0, T, 1.0, True) for i in range(LABELS_MAX + 1)])
    page = StatusPage(Document(), model)
    assert page.stream.yaxis[0].major_label_overrides == {}


def test_a_session_watches_until_it_is_destroyed() -> None:
    class Source:
        model = Model()
        stopped = 0

        def watch(self, changed: Any) -> Any:
            self.changed = changed
            return self.stop

        def stop(self) -> None:
            self.stopped += 1

    source = Source()
    document = Ticking()
    build(document, source)
    source.changed()
    for callback in document.session_destroyed_callbacks:
        callback(None)  # type: ignore[arg-type]
    assert source.stopped == 1
    page_count = len(document.roots)
    source.changed()
    assert page_count == 4
