"""The whole of it: a real cluster computes, and a real browser shows what it does."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from myscheduler import Client, LocalCluster
from tests.dashboard.browsing import NEEDS_BROWSER, browser, until, when
from tests.dashboard.test_metrics import parse

pytestmark = NEEDS_BROWSER


class Run:
    """A cluster of two workers with two threads each, at work: some tasks done, two held until told, one failed."""

    def __init__(self, gate: Path) -> None:
        self.gate = gate
        self.cluster = LocalCluster(n_workers=2, threads_per_worker=2, name="browsed", dashboard_address="127.0.0.1:0")
        self.client = Client(self.cluster)
        assert self.client.dashboard_link is not None
        self.base, _, self.token = self.client.dashboard_link.partition("/?token=")

    def begin(self) -> None:
        def inc(x: int) -> int:
            return x + 1

        def hold(path: str, number: int) -> int:
            import pathlib
            import time

            while not pathlib.Path(path).exists():
                time.sleep(0.01)
            return number

        def broken(x: int) -> int:
            raise ValueError(f"cannot use {x}")

        self.incs = self.client.map(inc, range(40))
        self.client.gather(self.incs)
        self.failed = self.client.submit(broken, 4)
        self.failed.exception()
        self.holds = [self.client.submit(hold, str(self.gate), number, key=("hold", number)) for number in range(2)]
        self.last = self.client.submit(inc, self.holds[0])

    def get(self, path: str) -> str:
        request = urllib.request.Request(f"{self.base}{path}", headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.read().decode())

    def close(self) -> None:
        self.gate.touch()
        self.client.close()
        self.cluster.close()


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    found = await asyncio.to_thread(Run, tmp_path / "gate")
    yield found
    await asyncio.to_thread(found.close)


async def follow(page: Any, selector: str, title: object) -> None:
    """Click a link, and wait for the page of that title."""
    await page.click(selector)
    await until(lambda: when(page.inner_text(".title"), lambda text: text == str(title)))


async def test_the_pages_show_a_real_run(run: Run, chromium: Any) -> None:
    async with browser(chromium) as page:
        await page.goto(run.client.dashboard_link)
        await page.wait_for_selector("body.ready", timeout=30_000)
        await asyncio.to_thread(run.begin)
        await _check_the_first_page(page, run)
        await _check_the_pages_behind_it(page, run)
        for path in ("/status", "/tasks", "/tasks?name=inc", f"/task?key={run.failed.key}", "/worker/0"):
            await page.set_viewport_size({"width": 390, "height": 844})
            await page.goto(run.base + path)
            await page.wait_for_selector("body.ready")
            assert await page.evaluate("document.documentElement.scrollWidth") == 390, path


async def _check_the_first_page(page: Any, run: Run) -> None:
    await until(lambda: when(page.inner_text("#running"), lambda text: text == "2"))
    await until(lambda: when(page.inner_text("#done"), lambda text: text == "40"))
    assert await page.inner_text("h1") == "browsed"
    assert await page.inner_text("#workers-count") == "2"
    assert await page.inner_text("#threads-count") == "4 threads"
    assert await page.inner_text("#failed") == "1"
    kinds = await page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#progress li')].map((e) => "
        "[e.querySelector('.name').textContent, e.querySelector('.share').textContent]))"
    )
    assert kinds == {"inc": "40 / 41", "broken": "0 / 1", "hold": "0 / 2"}
    rows = await page.evaluate(
        "[...document.querySelectorAll('#workers tbody tr')].map((e) => "
        "[e.querySelector('strong').textContent, e.querySelector('.worker small').textContent])"
    )
    workers = run.client.scheduler_info()["workers"]
    assert sorted(rows) == sorted([f"worker {worker['name']}", address] for address, worker in workers.items())
    drawn = "Bokeh.documents[0].roots()[0].renderers[0].data_source.data"
    counted = f"(() => {{ const d = {drawn}; return d.count.reduce((a, b) => a + b, 0); }})()"
    assert await until(lambda: when(page.evaluate(counted), lambda count: count == 41)), "40 incs and a failure"
    assert await page.evaluate(f"{drawn}.failed.reduce((a, b) => a + b, 0)") == 1


async def _check_the_pages_behind_it(page: Any, run: Run) -> None:
    first = run.incs[0].key
    await follow(page, "#progress a.name >> text=inc", "inc")
    assert await page.inner_text(".range") == "1 to 41 of 41"
    await follow(page, f"td.task a >> text='{first}'", first)
    assert await page.inner_text(".title-line .state") == "in memory"
    assert await page.inner_text(".why") == run.client.explain(run.incs[0])
    worker = await page.inner_text(".facts .names a")
    await follow(page, ".facts .names a", worker)
    assert worker in ("worker 0", "worker 1")
    assert await page.inner_text(".title-line .state") == "running"
    await page.goto(f"{run.base}/tasks?status=erred")
    await follow(page, "td.task a", run.failed.key)
    assert await page.inner_text(".error-text") == "ValueError: cannot use 4"
    assert "in broken" in await page.inner_text(".trace")
    await page.goto(f"{run.base}/tasks?name=hold")
    await follow(page, "td.task a", "('hold', 0)")
    assert await page.inner_text(".title-line .state") == "at a worker"
    assert run.last.key in await page.inner_text("#page")
    await follow(page, ".facts .names a", worker := await page.inner_text(".facts .names a"))
    await until(lambda: page.locator(".lists .card", has_text="At the worker").locator("a >> text=('hold', 0)").count())
    await follow(page, "a >> text=('hold', 0)", "('hold', 0)")
    run.gate.touch()
    await until(lambda: when(page.inner_text(".title-line .state"), lambda text: text == "in memory"))
    assert "int, 28 B" in await page.inner_text(".facts")
    assert await page.inner_text(".facts .names a") == worker


async def test_scripts_are_told_the_same(run: Run) -> None:
    await asyncio.to_thread(run.begin)

    async def ask(path: str) -> Any:
        return json.loads(await asyncio.to_thread(run.get, path))

    async def running() -> bool:
        return bool((await ask("/api/v1/overview"))["totals"]["tasks"]["running"] == 2)

    await until(running)
    assert (await ask("/api/v1/overview"))["cluster"]["name"] == "browsed"
    progress = {row["name"]: row for row in (await ask("/api/v1/progress"))["progress"]}
    assert (progress["inc"]["memory"], progress["inc"]["waiting"], progress["broken"]["erred"]) == (40, 1, 1)
    task = await ask(f"/api/v1/tasks/{run.incs[3].key}")
    assert (task["status"], task["type"], task["kind"]) == ("memory", "int", "inc")
    assert (await ask("/api/v1/tasks?name=hold"))["tasks"][1]["id"] == '~["hold",1]'
    [first, _] = (await ask("/api/v1/workers"))["workers"]
    assert (await ask(f"/api/v1/workers/{first['name']}"))["id"] == first["id"]
    series, _ = parse(await asyncio.to_thread(run.get, "/metrics"))
    assert series["myscheduler_tasks", frozenset({("kind", "inc"), ("state", "memory")})] == 40
    assert series["myscheduler_threads", frozenset()] == 4
