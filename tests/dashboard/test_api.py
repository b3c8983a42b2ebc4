"""What scripts and our own pages ask for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from myscheduler.base.errors import ClosedError
from myscheduler.dashboard.model import STATES
from tests.dashboard.demo import DemoSource
from tests.dashboard.serving import TOKEN, Site, serving
from tests.dashboard.test_metrics import parse


@pytest.fixture
def source() -> DemoSource:
    source = DemoSource(workers=2, threads=2)
    source.step()
    return source


@pytest.fixture
async def site(source: DemoSource) -> AsyncIterator[Site]:
    async with serving(source) as running:
        yield running


async def ask(site: Site, path: str, code: int = 200) -> Any:
    answer = await site.get(path, Authorization=f"Bearer {TOKEN}")
    assert answer.code == code, answer.body
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    return json.loads(answer.body)


async def test_progress_and_workers(site: Site) -> None:
    [first, *_] = (await ask(site, "/api/v1/progress"))["progress"]
    assert {"name", "total", "runs", "mean_s", *STATES} == set(first)
    workers = (await ask(site, "/api/v1/workers"))["workers"]
    assert [worker["name"] for worker in workers] == ["worker-0", "worker-1"]


@pytest.mark.parametrize("name", ["worker-1", "0000000000000001", quote("tcp://10.0.0.12:40001", safe="")])
async def test_a_worker_by_each_of_its_names(site: Site, name: str) -> None:
    worker = await ask(site, f"/api/v1/workers/{name}")
    assert (worker["id"], worker["name"], worker["threads"]) == ("0000000000000001", "worker-1", 2)
    assert worker["resources"] == {"GPU": {"total": 2.0, "free": 1.0}}
    assert (len(worker["results"]), worker["results_total"]) == (50, 120)
    assert "past" not in worker


async def test_a_worker_that_is_not_there(site: Site) -> None:
    assert await ask(site, "/api/v1/workers/w9", 404) == {"error": "no worker called 'w9' is connected"}
    view = await ask(site, "/view/worker?id=w9")
    assert (view["worker"], view["past"]) == (None, None)


async def test_tasks_in_pages(site: Site) -> None:
    found = await ask(site, "/api/v1/tasks?name=score&status=memory&offset=50&limit=5")
    assert (found["total"], found["offset"]) == (60, 50)
    assert [task["id"] for task in found["tasks"]] == [f"score-{i}" for i in range(50, 55)]
    assert (await ask(site, "/api/v1/tasks"))["total"] == 241
    assert (await ask(site, "/api/v1/tasks?name="))["total"] == 0, "the kind without a name"
    assert (await ask(site, "/api/v1/tasks?name=" + quote('~"score"')))["total"] == 60


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("status=lost", "no state is called 'lost'; they are memory, released,"),
        ("limit=201", "limit='201' is no number from 0 to 200"),
        ("offset=-1", "offset='-1' is no number"),
        ("offset=%C2%B2", "is no number"),
        ("name=~[", "no key is written '~['"),
    ],
)
async def test_wrong_questions_are_explained(site: Site, query: str, message: str) -> None:
    assert message in (await ask(site, f"/api/v1/tasks?{query}", 400))["error"]


async def test_a_task_by_its_key(site: Site) -> None:
    task = await ask(site, "/api/v1/tasks/score-7")
    assert (task["id"], task["status"], task["inputs_total"], task["error"]) == ("score-7", "memory", 300, None)
    task = await ask(site, "/api/v1/tasks/" + quote('~["x",0]'))
    assert (task["label"], task["error"]["text"]) == ("('x', 0)", "ValueError: no")
    unknown = await ask(site, "/api/v1/tasks/" + quote("a/b?c", safe=""), 404)
    assert (unknown["id"], unknown["status"]) == ("a/b?c", "unknown")
    assert "any other as ~ and JSON" in (await ask(site, "/api/v1/tasks/~%7B", 400))["error"]


async def test_a_scheduler_that_does_not_answer_is_said(site: Site, source: DemoSource) -> None:
    async def gone(method: str, *args: Any) -> Any:
        raise ClosedError("it was killed")

    source.ask = gone  # type: ignore[method-assign]
    for path in ("/api/v1/tasks/x", "/api/v1/tasks", "/api/v1/workers/worker-1", "/view/task?key=x"):
        assert await ask(site, path, 503) == {"error": "the scheduler cannot answer: it was killed"}


async def test_pages_get_colours_the_cluster_and_the_past(site: Site, source: DemoSource) -> None:
    task = await ask(site, "/view/task?key=score-1")
    assert task["colour"] == source.model.colours.of("score")
    assert task["cluster"]["connection"] == "connected"
    assert (await ask(site, "/view/tasks?name=score"))["tasks"][0]["colour"] == task["colour"]
    view = await ask(site, "/view/worker?id=worker-1")
    assert view["past"]["stream"]["threads"] == [0, 1]
    assert view["past"]["stream"]["runs"]
    assert (await ask(site, "/view/task", 400))["error"] == "400 Bad Request"


async def test_only_pages_with_charts_count_as_looking(site: Site, source: DemoSource) -> None:
    for path in ("/view/task?key=x", "/view/tasks", "/api/v1/workers/worker-1", "/api/v1/overview"):
        await site.get(path, Authorization=f"Bearer {TOKEN}")
    assert source.watchers == 0
    await ask(site, "/view/worker?id=worker-1")
    await ask(site, "/view/worker?id=worker-0")
    assert source.watchers == 1
    site.server.application.audience.leave()
    assert source.watchers == 0


async def test_metrics(site: Site) -> None:
    answer = await site.get("/metrics", Authorization=f"Bearer {TOKEN}")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    series, _ = parse(answer.body.decode())
    assert series["myscheduler_threads", frozenset()] == 4
