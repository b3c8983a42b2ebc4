"""The pages of one task, one worker, and lists of tasks in a real browser, about a cluster that does not exist."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.dashboard.browsing import HOSTILE, NEEDS_BROWSER, browser, enter, open_page, running, until, when
from tests.dashboard.demo import DemoSource

pytestmark = NEEDS_BROWSER
PATHS = (
    "task?key=score-1",
    "task?key=" + quote('~["x",0]'),
    "task?key=nobody",
    "tasks",
    "tasks?name=score",
    "worker/worker-1",
)


async def go(page: Any, site: Any, path: str) -> None:
    await page.goto(f"http://{site.host}/{path}")
    await page.wait_for_selector("body.ready")


@pytest.mark.parametrize("width", [390, 800, 1400])
async def test_nothing_is_cut_off_at_any_width(chromium: Any, width: int) -> None:
    source = DemoSource(names=(("score", 0.1, 0.01), ("word" * 30, 0.1, 0.01)))
    async with running(source) as site, browser(chromium, width, 844) as page:
        await enter(page, site)
        for path in (*PATHS, f"task?key={'word' * 30}-1", f"tasks?name={'word' * 30}"):
            await go(page, site, path)
            assert await page.evaluate("document.documentElement.scrollWidth") == width, path
            cut = await page.evaluate(
                "[...document.querySelectorAll('.stat p, .choice a, .state, .title, td, dd')]"
                ".filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map((e) => e.textContent)"
            )
            assert cut == [], path


async def test_the_stream_the_bars_and_the_workers_lead_on(chromium: Any) -> None:
    async with running(DemoSource(workers=2)) as site, browser(chromium) as page:
        await open_page(page, site)
        await until(lambda: page.locator("#progress li").count())
        await page.click("#progress a.name >> text=score")
        await until(lambda: page.locator("td.task a").count())
        assert page.url.endswith("/tasks?name=score")
        await page.go_back()
        await page.wait_for_selector("body.ready #workers tbody tr")
        await page.click("#workers strong a >> text=worker-1")
        await until(lambda: page.locator(".title >> text=worker-1").count())
        await page.click("#trail a >> text=Status")
        await page.wait_for_selector("body.ready")
        await _click_a_block(page)
        assert page.url.split("/")[-1].startswith(("task?key=", "tasks?name="))


async def _click_a_block(page: Any) -> None:
    box = await page.locator("#plot-stream").bounding_box()

    async def left() -> bool:
        for share in (0.3, 0.5, 0.7):
            if page.url.endswith("/status"):
                await page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * share)
        return not page.url.endswith("/status")

    await until(left)


async def test_lists_are_read_page_by_page_and_by_state(chromium: Any) -> None:
    async with running(DemoSource(workers=2)) as site, browser(chromium) as page:
        await enter(page, site)
        await go(page, site, "tasks?name=score")
        assert await page.inner_text(".range") == "1 to 50 of 60"
        assert await page.locator("tbody tr").count() == 50
        await page.click(".pager a >> text=Next")
        await until(lambda: when(page.inner_text(".range"), lambda text: text == "51 to 60 of 60"))
        assert not await page.is_visible(".pager a >> text=Next")
        await page.click(".choice a >> text=Failed")
        await until(lambda: page.locator(".empty:visible").count())
        assert "No such tasks right now" in await page.inner_text(".empty")
        await page.click("#trail a >> text=Tasks")
        await until(lambda: when(page.inner_text(".range"), lambda text: text == "1 to 50 of 241"))


async def test_a_workers_page_draws_its_past(chromium: Any) -> None:
    async with running(DemoSource(workers=2)) as site, browser(chromium) as page:
        await open_page(page, site)
        await go(page, site, "worker/worker-0")
        await until(lambda: page.locator(".lanes rect").count())
        lines = await page.evaluate(
            "[...document.querySelectorAll('.chart .series')].map((e) => e.getAttribute('d') || '')"
        )
        assert len(lines) == 4
        assert all(line.count("L") >= 2 for line in lines)
        assert "GPU: 1 of 2 free" in await page.inner_text(".facts")
        lists = [await element.inner_text() for element in await page.locator(".lists .card").all()]
        assert [text.splitlines()[0] for text in lists] == ["At the worker", "Next", "Results"]
        assert "and 70 more" in lists[2]
        left = site.server.application.applications["/status"]
        await until(lambda: asyncio.sleep(0, not any(session.connection_count for session in left.sessions)))


async def test_a_worker_that_leaves_is_said_and_may_come_back(chromium: Any) -> None:
    source = DemoSource(workers=2)
    async with running(source) as site, browser(chromium) as page:
        await enter(page, site)
        await go(page, site, "worker/0000000000000001")
        await until(lambda: page.locator(".title >> text=worker-1").count())
        source._workers = 1
        await until(lambda: page.locator(".why >> text=This worker is not connected").count())
        assert await page.locator(".why a").get_attribute("href") == "../worker/worker-1"


async def test_a_key_that_is_none_is_explained(chromium: Any) -> None:
    async with running(DemoSource(workers=1)) as site, browser(chromium) as page:
        await enter(page, site)
        await page.goto(f"http://{site.host}/task?key=~[")
        await until(lambda: page.locator("#banner:visible").count())
        assert "no key is written '~['" in await page.inner_text("#banner")
        page.alarms[:] = [alarm for alarm in page.alarms if "400" not in alarm]


async def test_no_name_becomes_markup(chromium: Any) -> None:
    source = DemoSource(workers=1, names=((HOSTILE, 0.2, 0.01),))
    source.model.name = HOSTILE
    original = source.ask

    async def ask(method: str, *args: Any) -> Any:
        answer = await original(method, *args)
        if method == "task":
            error = {"culprit": HOSTILE, "text": HOSTILE, "traceback": HOSTILE}
            return {
                **answer,
                "why": HOSTILE,
                "type": HOSTILE,
                "workers": [(HOSTILE, HOSTILE)],
                "requirement": HOSTILE,
                "error": error,
            }
        if method == "worker" and answer:
            return {**answer, "resources": {HOSTILE: 1.0}, "versions": {HOSTILE: HOSTILE}}
        return answer

    source.ask = ask  # type: ignore[method-assign]
    async with running(source) as site, browser(chromium) as page:
        await enter(page, site)
        for path in ("tasks", f"tasks?name={quote(HOSTILE)}", f"task?key={quote(HOSTILE + '-1')}", "worker/worker-0"):
            await go(page, site, path)
            assert HOSTILE in await page.inner_text("body")
            assert await page.locator("img[src=x]").count() == 0
